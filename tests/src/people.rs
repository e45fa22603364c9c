//! Users as tests need them: registered, with tokens, on the wire, doing everyday things.

use std::collections::{BTreeMap, BTreeSet};

use toml::Table;

use crate::{
    harness::{SOON, System, eventually},
    web::{Call, Reply},
    wire::{Style, Wire},
};

/// A registered user.
#[derive(Debug, Clone)]
pub struct User {
    /// Given by the system.
    pub id: i64,
    /// Their name.
    pub name: String,
    /// Their phone.
    pub phone: String,
    /// Their password.
    pub password: String,
    /// A token that has no device yet.
    pub token: String,
}

impl System {
    /// An HTTP call on an edge.
    pub fn call(&self, edge: usize, method: &str, path: &str) -> Call {
        Call::new(method, format!("{}{path}", self.http(edge)))
    }

    /// Registers a user and logs them in over HTTP, without a device.
    pub async fn user(&self, name: &str) -> User {
        let (phone, password) = (self.new_phone(), format!("{name}'s secret"));
        self.call(0, "POST", "/user")
            .with("phone", &phone)
            .with("name", name)
            .with("password", &password)
            .send()
            .await
            .expect_ok();
        let mut user = User { id: 0, name: name.to_owned(), phone, password, token: String::new() };
        let reply = self.http_login(&user, None, 0).await;
        let given = reply.response();
        user.id = given["user"]["id"].as_integer().expect("a login says who the user is");
        user.token = given["user"]["token"].as_str().expect("a login gives a token").to_owned();
        user
    }

    /// Registers several users.
    pub async fn users<const N: usize>(&self, names: [&str; N]) -> [User; N] {
        let mut users = Vec::new();
        for name in names {
            users.push(self.user(name).await);
        }
        users.try_into().expect("as many as names")
    }

    /// Logs a user in over HTTP.
    pub async fn http_login(&self, user: &User, device: Option<&str>, edge: usize) -> Reply {
        let call = self
            .call(edge, "POST", "/server/login")
            .with("phone", &user.phone)
            .with("password", &user.password);
        let call = match device {
            Some(device) => call.with("device", device),
            None => call,
        };
        call.send().await.expect(
            200,
            "[[response]]\nstatus = 0\nserver = \"…\"\nport = \"…\"\n[response.user]\nid = \"…\"\ntoken = \"…\"",
        )
    }

    /// A new token for a device.
    pub async fn token(&self, user: &User, device: &str) -> String {
        let reply = self.http_login(user, Some(device), 0).await;
        reply.response()["user"]["token"].as_str().expect("a login gives a token").to_owned()
    }

    /// A connection of this user's device, logged in with a token of its own. Nothing has been read after the answer
    /// to the login.
    pub async fn online(&self, user: &User, device: &str, edge: usize) -> Wire {
        let token = self.token(user, device).await;
        self.connect(user, device, &token, edge).await
    }

    /// Waits until a device's acknowledged cursor in the conversation of two users is at `seq`.
    pub async fn cursor_at(&self, user: &User, device: &str, other: &User, seq: i64) {
        let conversation = format!("dm:{}:{}", user.id.min(other.id), user.id.max(other.id));
        self.cursor_in(user, device, &conversation, seq).await;
    }

    /// The same in a conversation by its name.
    pub async fn cursor_in(&self, user: &User, device: &str, conversation: &str, seq: i64) {
        let query = "SELECT seq FROM cursors WHERE user_id = $1 AND device = $2 AND conv = $3";
        eventually(SOON, async || {
            let rows = self.stores.rows(query, &[&user.id, &device, &conversation]).await;
            match rows.first().map(|row| row.get::<_, i64>(0)) {
                Some(found) if found == seq => Ok(()),
                found => Err(format!("the cursor is {found:?}, not {seq}")),
            }
        })
        .await;
    }

    /// Waits until the directory says who is online: for its first moments a system sends everything everywhere.
    pub async fn directory_stands(&self) {
        let key = |name: &str| self.stores.key(name);
        eventually(SOON, async || {
            let nodes: BTreeMap<String, String> = self.stores.redis("HGETALL", &[&key("im_list")]).await;
            let mut listed: Vec<&String> = nodes.values().collect();
            let mut edges: Vec<&String> = self.edges.iter().map(|edge| &edge.addresses().tcp).collect();
            listed.sort();
            edges.sort();
            if listed != edges {
                return Err(format!("im_list names {listed:?}, not {edges:?}"));
            }
            let epoch: Option<String> = self.stores.redis("GET", &[&key("im_epoch")]).await;
            let marker: Option<String> = self.stores.redis("GET", &[&key("im_marker")]).await;
            let Some(epoch) = epoch.filter(|epoch| marker.as_ref() == Some(epoch)) else {
                return Err(format!("the marker is {marker:?}"));
            };
            let registered = key(&format!("im_registered_{epoch}"));
            let registered: BTreeSet<String> = self.stores.redis("SMEMBERS", &[&registered]).await;
            match nodes.keys().find(|node| !registered.contains(*node)) {
                None => Ok(()),
                Some(node) => Err(format!("{node} has not registered")),
            }
        })
        .await;
    }

    /// Waits until the system knows that none of the user's devices is connected.
    pub async fn away(&self, user: &User) {
        let route = self.stores.key(&format!("route_{}", user.id));
        eventually(SOON, async || {
            let devices: Vec<String> = self.stores.redis("HKEYS", &[&route]).await;
            if devices.is_empty() {
                Ok(())
            } else {
                Err(format!("{} is still online on {devices:?}", user.name))
            }
        })
        .await;
    }

    /// A connection logged in with this token.
    pub async fn connect(&self, user: &User, device: &str, token: &str, edge: usize) -> Wire {
        self.connect_as(user, device, token, edge, Style::Counted).await
    }

    /// A connection of either style logged in with this token.
    pub async fn connect_as(
        &self,
        user: &User,
        device: &str,
        token: &str,
        edge: usize,
        style: Style,
    ) -> Wire {
        let wire = Wire::connect_as(self.tcp(edge), style).await;
        self.log_in(wire, user, device, token).await
    }

    /// This connection, logged in with this token.
    pub async fn log_in(&self, mut wire: Wire, user: &User, device: &str, token: &str) -> Wire {
        wire.send(&login_frame(user.id, device, token)).await;
        wire.expect("[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0").await;
        wire.token = token.to_owned();
        wire
    }
}

/// `[[r]] t = "login"`.
pub fn login_frame(user: i64, device: &str, token: &str) -> String {
    format!(
        "[[r]]\nid = \"login\"\nt = \"login\"\n[r.user]\nid = {user}\ndevice = \"{device}\"\ntoken = \"{token}\"\n"
    )
}

/// What a message to a user looks like when it is delivered.
pub fn delivered(id: &str, text: &str, seq: i64, to: &User, from: &User, device: &str) -> String {
    format!(
        "[[m]]\nid = \"{id}\"\nc = \"{text}\"\nts = \"…\"\nseq = {seq}\nto = {{ id = {} }}\n\
         from = {{ id = {}, device = \"{device}\" }}",
        to.id, from.id
    )
}

/// What a message to a group looks like when it is delivered.
pub fn delivered_group(id: &str, text: &str, seq: i64, group: i64, from: &User, device: &str) -> String {
    format!(
        "[[gm]]\nid = \"{id}\"\nc = \"{text}\"\nts = \"…\"\nseq = {seq}\ngroup = {group}\n\
         from = {{ id = {}, device = \"{device}\" }}",
        from.id
    )
}

/// `[[a]] lvl = "stored"` as the server sends it.
pub fn stored(id: &str, seq: i64) -> String {
    format!("[[a]]\nid = \"{id}\"\nlvl = \"stored\"\nts = \"…\"\nseq = {seq}")
}

/// `[[rr]] s = 1` as the server sends it.
pub fn refused(id: &str, t: &str, code: &str) -> String {
    format!("[[rr]]\nid = \"{id}\"\nt = \"{t}\"\ns = 1\nr = \"…\"\ncode = \"{code}\"")
}

/// `[[rr]] s = 0` as the server sends it, with further lines.
pub fn done(id: &str, t: &str, more: &str) -> String {
    format!("[[rr]]\nid = \"{id}\"\nt = \"{t}\"\ns = 0\n{more}")
}

impl Wire {
    /// Sends a message to a user, without waiting for anything.
    pub async fn send_message(&mut self, id: &str, to: i64, text: &str) {
        self.send(&format!("[[m]]\nid = \"{id}\"\nc = \"{text}\"\nto = {to}")).await;
    }

    /// Sends a message to a user; the next thing that comes must be its ack, with this `seq`.
    pub async fn say(&mut self, id: &str, to: &User, text: &str, seq: i64) {
        self.send_message(id, to.id, text).await;
        self.expect(&stored(id, seq)).await;
    }

    /// Sends a message to a group; the next thing that comes must be its ack, with this `seq`.
    pub async fn say_group(&mut self, id: &str, group: i64, text: &str, seq: i64) {
        self.send(&format!("[[gm]]\nid = \"{id}\"\nc = \"{text}\"\ngroup = {group}")).await;
        self.expect(&stored(id, seq)).await;
    }

    /// Makes a request: `t` and its other keys as TOML lines.
    pub async fn request(&mut self, id: &str, t: &str, keys: &str) {
        self.send(&format!("[[r]]\nid = \"{id}\"\nt = \"{t}\"\n{keys}")).await;
    }

    /// Makes a request that succeeds; `more` is what its answer carries besides.
    pub async fn done(&mut self, id: &str, t: &str, keys: &str, more: &str) -> Table {
        self.request(id, t, keys).await;
        self.expect(&done(id, t, more)).await
    }

    /// Makes a request that is refused with this code.
    pub async fn refused(&mut self, id: &str, t: &str, keys: &str, code: &str) {
        self.request(id, t, keys).await;
        self.expect(&refused(id, t, code)).await;
    }

    /// Acknowledges exactly this delivery from a user.
    pub async fn acknowledge(&mut self, id: &str, seq: i64, from: &User) {
        self.send(&format!("[[a]]\nid = \"{id}\"\nseq = {seq}\n[a.from]\nid = {}", from.id)).await;
    }
}
