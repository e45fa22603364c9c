//! simple_im's original clients on the listener that is theirs, by a tiny imitation of one.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{Options, SOON, System, eventually},
    original::{self, Old, login},
    people::{User, delivered},
    socket::Tongue,
};

/// Connects to an edge's port for them.
async fn old(system: &System, name: &'static str, edge: usize) -> Old {
    Old::connect(&system.edge(edge).compat, name).await
}

/// The same, and logs in with the user's own token.
async fn logged_in(system: &System, name: &'static str, user: &User, device: &str, edge: usize) -> Old {
    let mut old = old(system, name, edge).await;
    old.logs_in("login", user.id, device, &user.token).await;
    old
}

fn shown(content: &str, id: &str, to: &User, from: &User, device: &str) -> String {
    original::shown(content, id, to.id, from.id, device)
}

async fn system() -> System {
    let options =
        Options { edge: vec![("edge.compat_listen", "127.0.0.1:0".to_owned())], ..Options::default() };
    System::start_with(2, 2, options).await
}

#[tokio::test]
async fn an_original_client_does_all_that_it_did_on_its_old_server() {
    let system = system().await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let mut a = logged_in(&system, "alice", &alice, "ipad", 0).await;
    let mut b = logged_in(&system, "bob", &bob, "iphone", 1).await;
    let mut c = system.online(&carol, "new", 0).await;

    // Messages. Every message of theirs has the same id, and is a new one all the same.
    for _ in 0..2 {
        a.say(&format!("[[m]] id = \"a_02\" c = \"hello\" to = {}", bob.id)).await;
        a.hear_ack("a_02").await;
        b.hear_and_ack(&shown("hello", "a_02", &bob, &alice, "ipad"), "a_02").await;
    }
    system.cursor_at(&bob, "iphone", &alice, 2).await;
    a.say(&format!("[[m]] id = \"a_02\" c = \"C:\\new\" to = \"{}\"", carol.id)).await;
    a.hear_ack("a_02").await;
    c.expect(&delivered("a_02", "C:\\\\new", 1, &carol, &alice, "ipad")).await;
    c.say("n", &alice, "a \\\"quoted\\\" \\\\ line\\nand another", 2).await;
    a.hear_and_ack(&shown("a 'quoted' \\ line\nand another", "n", &alice, &carol, "new"), "n").await;

    // Contacts.
    a.say(&format!("[[r]] id = \"a_12344\" t = \"add_contact\" message = \"hi\" to = {}", bob.id)).await;
    a.hear_and_ack("[[rr]]\nid = \"a_12344\"\ns = 0\n", "a_12344").await;
    let from =
        |user: &User, device: &str| format!("ts = …\n[r.from]\ndevice = \"{device}\"\nid = {}\n", user.id);
    let request = |id: &str, t: &str, keys: &str, from: &str| {
        format!("[[r]]\nid = \"{id}\"\nt = \"{t}\"\n{keys}{from}")
    };
    let keys = format!("to = {}\nmessage = \"hi\"\n", bob.id);
    b.hear_and_ack(&request("a_12344", "add_contact", &keys, &from(&alice, "ipad")), "a_12344").await;
    b.say(&format!("[[r]] id = \"a_12345\" t = \"accept_contact\" to = {}", alice.id)).await;
    b.hear_and_ack("[[rr]]\nid = \"a_12345\"\ns = 0\ncontact_version = 1\n", "a_12345").await;
    let keys = format!("to = {}\ncontact_version = 1\n", alice.id);
    a.hear_and_ack(&request("a_12345", "accept_contact", &keys, &from(&bob, "iphone")), "a_12345").await;
    a.say(&format!("[[r]] id = \"a_12344\" t = \"add_contact\" message = \"hi\" to = {}", bob.id)).await;
    let refused = a.entry().await;
    assert!(
        refused.starts_with("[[rr]]\nid = \"a_12344\"\nr = \"") && refused.ends_with("\"\ns = 1\n"),
        "{refused}"
    );
    a.say("[[a]] id=\"a_12344\"").await;
    a.say(&format!("[[r]] id = \"a_12346\" t = \"delete_contact\" to = {}", bob.id)).await;
    a.hear_and_ack("[[rr]]\nid = \"a_12346\"\ns = 0\ncontact_version = 2\n", "a_12346").await;
    let keys = format!("to = {}\ncontact_version = 2\n", bob.id);
    b.hear_and_ack(&request("a_12346", "delete_contact", &keys, &from(&alice, "ipad")), "a_12346").await;

    // Groups.
    let members = format!("members = [{},{}] name = \"friends\"", alice.id, bob.id);
    a.say(&format!("[[r]] {members} t = \"create_group\" id = \"c_01\"")).await;
    let made = a.hear_and_ack("[[rr]]\nid = \"c_01\"\ns = 0\ngroup_id = …\n", "c_01").await;
    let group: i64 = made.trim_end().rsplit_once(' ').unwrap().1.parse().unwrap();
    let keys = format!("name = \"friends\"\nmembers = [{}, {}]\ngroup_id = {group}\n", alice.id, bob.id);
    b.hear_and_ack(&request("c_01", "create_group", &keys, &from(&alice, "ipad")), "c_01").await;
    b.say(&format!("[[gm]] id = \"a_03\" c = \"hello\" group = {group}")).await;
    b.hear_ack("a_03").await;
    let gm = format!(
        "[[gm]]\nc = \"hello\"\nid = \"a_03\"\nts = …\ngroup = {group}\n[gm.from]\ndevice = \"iphone\"\nid = {}\n",
        bob.id
    );
    a.hear_and_ack(&gm, "a_03").await;
    a.say(&format!(
        "[[r]] group_id = {group} member_id = {} t = \"create_group_member\" id = \"c_02\"",
        carol.id
    ))
    .await;
    a.hear_and_ack("[[rr]]\nid = \"c_02\"\ns = 0\n", "c_02").await;
    let keys = format!("group_id = {group}\nmember_id = {}\n", carol.id);
    b.hear_and_ack(&request("c_02", "create_group_member", &keys, &from(&alice, "ipad")), "c_02").await;

    // Away and back, on the other node: the offline list over HTTP, then the same on the wire, then what was cleared is gone.
    system.cursor_at(&bob, "iphone", &alice, 5).await;
    system.cursor_in(&bob, "iphone", &format!("g:{group}"), 3).await;
    drop(b);
    system.away(&bob).await;
    for content in ["one", "two"] {
        a.say(&format!("[[m]] id = \"a_02\" c = \"{content}\" to = {}", bob.id)).await;
        a.hear_ack("a_02").await;
    }
    let offline = || system.call(0, "GET", "/offline").token(&bob.token);
    let list = offline().send().await;
    let contents: Vec<String> =
        list.entries("m").iter().map(|m| m["c"].as_str().unwrap().to_owned()).collect();
    assert_eq!(contents, ["one", "two"]);
    let mut b = old(&system, "bob", 0).await;
    b.logs_in("reconnect", bob.id, "iphone", &bob.token).await;
    for content in ["one", "two"] {
        b.hear_and_ack(&shown(content, "a_02", &bob, &alice, "ipad"), "a_02").await;
    }
    system.call(0, "DELETE", "/offline").token(&bob.token).send().await.expect_ok();
    assert!(offline().send().await.entries("m").is_empty());
    let count = "SELECT count(*) FROM messages WHERE conv = $1 AND kind = 0";
    let conversation = format!("dm:{}:{}", alice.id.min(bob.id), alice.id.max(bob.id));
    assert_eq!(system.stores.number(count, &[&conversation]).await, 4);
    system.finish().await;
}

#[tokio::test]
async fn connections_are_counted_by_the_way_they_came() {
    let system = system().await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let ways = async |expected: [f64; 3]| {
        eventually(SOON, async || {
            let mut found = [0.0; 3];
            for (at, way) in ["tcp", "websocket", "compat"].into_iter().enumerate() {
                found[at] =
                    system.edges[0].metric(&format!("im_edge_way_connections{{way=\"{way}\"}}")).await;
            }
            let all = system.edges[0].metric("im_edge_connections").await;
            let fits = found == expected && all == expected.iter().sum::<f64>();
            if fits { Ok(()) } else { Err(format!("{found:?} of {all}, not {expected:?}")) }
        })
        .await;
    };
    ways([0.0; 3]).await;
    let phone = system.online(&alice, "phone", 0).await;
    let page = system.socket(&alice, "page", 0, Tongue::Json).await;
    let first = logged_in(&system, "bob", &bob, "iphone", 0).await;
    // One that has not logged in counts as well.
    let second = old(&system, "nobody", 0).await;
    ways([1.0, 1.0, 2.0]).await;
    page.drop_it();
    drop(second);
    ways([1.0, 0.0, 1.0]).await;
    drop((phone, first));
    ways([0.0; 3]).await;
    system.finish().await;
}

#[tokio::test]
async fn reads_of_several_entries_and_torn_ones_and_refusals_in_their_own_words() {
    let system = system().await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = old(&system, "alice", 0).await;
    a.say("[[m]] id = \"x\" c = \"y\" to = 1").await;
    let early = a.entry().await;
    assert!(
        early.starts_with("[[rr]]\nid = \"x\"\nr = \"expected login") && early.ends_with("\ns = 1\n"),
        "{early}"
    );
    for (t, start, end) in [
        ("login", "[[rr]]\nid = \"a_01\"\ns = 1\nt = \"login\"\nr = \"token error", "\"\n"),
        ("reconnect", "[[rr]]\nid = \"a_01\"\nt = \"reconnect\"\nr = \"token error", "\"\ns = 1\n"),
    ] {
        a.say(&login(t, alice.id, "ipad", &bob.token)).await;
        let refused = a.entry().await;
        assert!(refused.starts_with(start) && refused.ends_with(end), "{refused}");
    }
    // A login and two messages in one write, with nothing between them.
    let both = format!(
        "{}[[m]] id = \"1\" c = \"[[not]] a header\" to = {bob}[[m]] id = \"2\" c = \"\" to = \"{bob}\"",
        login("login", alice.id, "ipad", &alice.token),
        bob = bob.id
    );
    a.say(&both).await;
    a.hear("[[rr]]\nid = \"a_01\"\nt = \"login\"\ns = 0\n").await;
    a.hear("[[a]]\nid = \"1\"\n").await;
    a.hear("[[a]]\nid = \"2\"\n").await;
    // What TCP has torn is refused in parts, and the connection goes on. Blanks are nothing.
    a.say("[[m]] id = \"3\" c = \"torn").await;
    let torn = a.entry().await;
    assert!(torn.starts_with("[[rr]]\nid = \"\"\nr = \"expected a closing quote"), "{torn}");
    a.say(" \r\n").await;
    a.say(&format!("[[m]] id = \"4\" c = \"x\" to = {}", bob.id)).await;
    a.hear("[[a]]\nid = \"4\"\n").await;
    system.finish().await;
}
