//! Oneself: name, password, devices.

use super::*;

fn question(model: &Model) -> (Purpose, String) {
    let Some(Dialog::Prompt(prompt)) = &model.dialog else { panic!("no question: {:?}", model.dialog) };
    (prompt.purpose.clone(), prompt.input.text().to_owned())
}

#[test]
fn one_s_own_name_and_password_are_changed() {
    let mut model = model();
    step(&mut model, Msg::Person(ME, Ok(Some(user(1, "Alice")))));
    ctrl(&mut model, 'y');
    choose(&mut model, "Change the name");
    assert_eq!(question(&model), (Purpose::Name, "Alice".to_owned()));
    ctrl(&mut model, 'u');
    assert_eq!(types(&mut model, " "), [], "no name");
    ctrl(&mut model, 'u');
    assert_eq!(types(&mut model, "  大傻 "), [Effect::Name("大傻".into())]);
    step(&mut model, Msg::Named("大傻".into(), Err("too long".into())));
    assert_eq!(model.people[&ME].name, "Alice");
    step(&mut model, Msg::Named("大傻".into(), Ok(())));
    assert_eq!((model.people[&ME].name.as_str(), model.notice.as_ref().unwrap().bad), ("大傻", false));

    ctrl(&mut model, 'y');
    choose(&mut model, "Change the password");
    assert_eq!(types(&mut model, ""), []);
    types(&mut model, " old ");
    types(&mut model, "new");
    types(&mut model, "knew");
    let (purpose, typed) = question(&model);
    assert_eq!(
        (purpose, typed.as_str()),
        (Purpose::NewPassword(Secret::new(" old ")), ""),
        "from the beginning"
    );
    types(&mut model, "new");
    let effects = types(&mut model, "new");
    assert_eq!(effects, [Effect::Password(Secret::new(" old "), Secret::new("new"))]);
    assert!(model.dialog.is_none() && !format!("{effects:?}").contains("new"), "{effects:?}");
    step(&mut model, Msg::Password(Err("not the password you have".into())));
    assert!(model.notice.as_ref().unwrap().bad);
}

#[test]
fn one_s_own_devices_are_logged_out() {
    let mut model = model();
    let device = |name: &str, own, online, ended| OwnDevice {
        device: Device::new(name).unwrap(),
        seen: 1_444_719_450,
        own,
        online,
        ended,
    };
    ctrl(&mut model, 'y');
    assert_eq!(choose(&mut model, "Devices"), [Effect::Devices]);
    let devices = || {
        vec![
            device("chat", true, true, false),
            device("ipad", false, true, false),
            device("old", false, false, true),
            device("phone", false, false, false),
        ]
    };
    step(&mut model, Msg::Devices(Ok(devices())));
    let Some(Dialog::Menu(menu)) = &model.dialog else { panic!("{:?}", model.dialog) };
    let labels: Vec<&str> = menu.choices.iter().map(|choice| choice.label.as_str()).collect();
    let expected =
        ["chat: this one", "ipad: connected", "old: logged out", "phone: seen 2015-10-13 06:57:30", "Close"];
    assert_eq!(labels, expected);
    assert_eq!(choose(&mut model, "old"), [Effect::Devices], "nothing is left to log out there");
    step(&mut model, Msg::Devices(Ok(devices())));
    choose(&mut model, "ipad");
    let ipad = Device::new("ipad").unwrap();
    assert_eq!(choose(&mut model, "Yes"), [Effect::End(ipad.clone())]);
    step(&mut model, Msg::Ended(ipad.clone(), Err("no such device".into())));
    assert!(model.notice.as_ref().unwrap().bad);
    assert_eq!(step(&mut model, Msg::Ended(ipad, Ok(()))), [Effect::Devices]);
}
