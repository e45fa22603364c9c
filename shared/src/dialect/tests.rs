//! The one-line form: what it becomes, what is refused, and that it means what the same pairs mean one a line.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::message::{samples, write};

fn converted(line: &str) -> String {
    let text = to_standard(line).unwrap_or_else(|reason| panic!("{line}: {reason}"));
    text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{text}"));
    text
}

#[test]
fn a_line_becomes_a_document() {
    for (line, expected) in [
        (r#"[[m]] id = "a_02" c = "hello" to = 3"#, "[[m]]\nid = \"a_02\"\nc = \"hello\"\nto = 3\n"),
        (
            r#"[[r]] id="a" t="login" [r.user] id=1 device="ipad""#,
            "[[r]]\nid=\"a\"\nt=\"login\"\n[r.user]\nid=1\ndevice=\"ipad\"\n",
        ),
        ("[[m]] id='a' [[m]] id='b'\t[m.to]\tid = 3  ", "[[m]]\nid='a'\n[[m]]\nid='b'\n[m.to]\nid = 3\n"),
        (
            r#"[[m]] c = "[[m]] id = 1 # \" [x] = ' \\" to = 3"#,
            "[[m]]\nc = \"[[m]] id = 1 # \\\" [x] = ' \\\\\"\nto = 3\n",
        ),
        (r"[[m]] c = 'C:\' to=3", "[[m]]\nc = 'C:\\'\nto=3\n"),
        (
            r#"[[r]] members = [2, [3], "]"] name = {a = "}", b = [1]} x = ''"#,
            "[[r]]\nmembers = [2, [3], \"]\"]\nname = {a = \"}\", b = [1]}\nx = ''\n",
        ),
        ("[[m]]id=1[m.to]id=3", "[[m]]\nid=1\n[m.to]\nid=3\n"),
        ("[[m]] a = 1 # to = 2", "[[m]]\na = 1\n"),
        ("  [ m . to ] \"id\" = 3 'x y'.z = 4", "[ m . to ]\n\"id\" = 3\n'x y'.z = 4\n"),
        (
            r#"[[m]] a = """b" [c] ""d""" b = '''e'' [f]''' c = """"" [g]""""" d = 1"#,
            "[[m]]\na = \"\"\"b\" [c] \"\"d\"\"\"\nb = '''e'' [f]'''\nc = \"\"\"\"\" [g]\"\"\"\"\"\nd = 1\n",
        ),
        (
            "[[m]] a = -1 b = 1.5 c = true d = 1979-05-27T07:32:00Z",
            "[[m]]\na = -1\nb = 1.5\nc = true\nd = 1979-05-27T07:32:00Z\n",
        ),
        ("[[a]]", "[[a]]\n"),
    ] {
        assert_eq!(converted(line), expected);
    }
}

#[test]
fn the_answers_of_the_description_convert() {
    for line in [
        r#"[[response]] status = 0"#,
        r#"[[m]] c = "hello" id = "a_02" ts = 1444719450 [m.to] id = 3 [m.from] device = "android" id = 1"#,
        r#"[[user]] id = 2 name = "xiaotie" phone = "13812652243" avatar = """#,
    ] {
        converted(line);
    }
    let table: toml::Table =
        converted(r#"[[m]] c = "hello" [m.to] id = 3 [m.from] device = "android" id = 1"#).parse().unwrap();
    assert_eq!(table["m"][0]["to"]["id"].as_integer(), Some(3));
    assert_eq!(table["m"][0]["from"]["device"].as_str(), Some("android"));
}

#[test]
fn a_refusal_says_what_was_expected_and_where() {
    for (line, expected) in [
        ("", "expected a header such as [[m]] first at column 1; found the end of the line"),
        ("id = 1", "expected a header such as [[m]] first at column 1; found \"id = 1\""),
        ("[[m] id = 1", "expected a header such as [[m]] or [m.to] at column 1; found \"[[m] id = 1\""),
        ("[[m]] id", "expected `=` after a key at column 9; found the end of the line"),
        ("[[m]] id = ", "expected a value after `=` at column 12; found the end of the line"),
        ("[[m]] id = , c = 1", "expected a value after `=` at column 12; found \", c = 1\""),
        ("[[m]] é = 1, c = 2", "expected a header or a key"),
        ("[[m]] c = \"é\", d", "expected a header or a key at column 14; found \", d\""),
        ("[[m]] c = \"hello", "expected a closing quote at column 11; found \"\\\"hello\""),
        ("[[m]] c = 'hello\\", "expected a closing quote"),
        ("[[m]] c = \"\"\"hello\"\"", "expected a closing quote"),
        ("[[r]] members = [1, 2", "expected a closing ] at column 17"),
        ("[[r]] members = {a = 1", "expected a closing } at column 17"),
    ] {
        let reason = to_standard(line).map(|text| text.parse::<toml::Table>().unwrap_err().to_string());
        match reason {
            Err(reason) => assert!(reason.starts_with(expected), "{line}: {reason}"),
            // A comma glued to a number is left to the ordinary parser, which refuses it.
            Ok(_) => assert!(line.contains("1,"), "{line}"),
        }
    }
}

#[test]
fn a_first_line_is_one_line_if_more_follows_its_header() {
    for line in [
        "[[m]] id = 1",
        "[[m]]id=1",
        " [m.to] id = 1",
        "[[m]] [m.to]",
        "[[m] id",
        "[",
        "[[\"]]\"]] a",
        "[[m]]]",
    ] {
        assert!(is_one_line(line.as_bytes()), "{line}");
    }
    for line in ["", "[[m]]", "[[m]] \r", " [[ m ]] # hi", "[\"]\"]", "id = 1", "# [[m]] id = 1", "x [m] y"] {
        assert!(!is_one_line(line.as_bytes()), "{line}");
    }
}

/// simple_im acknowledged a message with an escaped quote and never delivered it.
#[test]
fn an_escaped_quote_survives() {
    let text = converted(r#"[[m]] id = "a" c = "she said \"[[m]] hi\" and left" to = 2"#);
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["m"][0]["c"].as_str(), Some(r#"she said "[[m]] hi" and left"#));
}

fn pair() -> impl Strategy<Value = String> {
    let quoted = samples::text().prop_map(|text| {
        let mut out = Vec::new();
        write::quoted(&text, &mut out);
        String::from_utf8(out).unwrap()
    });
    let literal = "[a-z \\[\\]#=\"\\\\]{0,9}".prop_map(|text| format!("'{text}'"));
    let simple = prop_oneof![quoted, literal, any::<i32>().prop_map(|number| number.to_string())].boxed();
    let array = vec(simple.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", ")));
    ("[a-z]{1,4}", prop_oneof![3 => simple, 1 => array]).prop_map(|(key, value)| format!("{key} = {value}"))
}

proptest! {
    #[test]
    fn it_means_what_the_same_means_one_a_line(
        head in vec(pair(), 0..3), to in vec(pair(), 0..2), next in vec(pair(), 0..2), gap in "[ \t]{1,3}",
    ) {
        let parts: Vec<_> = [vec!["[[m]]".to_owned()], head, vec!["[m.to]".to_owned()], to, vec!["[[m]]".to_owned()], next].concat();
        let standard = to_standard(&parts.join(&gap)).unwrap();
        prop_assert_eq!(&standard, &(parts.join("\n") + "\n"));
    }

    #[test]
    fn garbage_does_not_panic(line in "[ \\[\\]{}m.=\"'\\\\#,1é\t\u{1}]{0,40}", any in any::<String>()) {
        for line in [line, format!("[[m]] {any}"), any] {
            is_one_line(line.as_bytes());
            if let Ok(text) = to_standard(&line) {
                // Nothing but breaks and blanks between the pairs, and a comment, is changed.
                let kept = |text: &str| text.chars().filter(|char| !" \t\n".contains(*char)).collect::<String>();
                prop_assert!(kept(&line).starts_with(&kept(&text)));
            }
        }
    }
}
