//! The one table: every request a client can make over TCP or HTTP, and every code a refusal can carry.
//!
//! Documentation, limits and metrics derive from it.

use std::fmt;

/// Why something was refused, for programs. The published list: a code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The frame is not TOML, not UTF-8, or has no shape this system knows.
    Malformed,
    /// A frame kind or request `t` that does not exist.
    Unknown,
    /// A key is missing, or has the wrong type or range.
    Invalid,
    /// A text or a frame is over its limit.
    TooLong,
    /// Sent before the login that it needs.
    NotLoggedIn,
    /// A second login on a connection that has one.
    AlreadyLoggedIn,
    /// Token or password do not fit.
    Token,
    /// Phone or password do not fit.
    Credentials,
    /// The addressed user, group, request or message does not exist.
    NotFound,
    /// Taken: a phone that is registered already.
    Taken,
    /// The other side has blocked the sender.
    Blocked,
    /// A contact request waits already.
    Waiting,
    /// They are contacts already; a member already.
    Exists,
    /// No such contact request waits.
    NoRequest,
    /// Not a member of the group.
    NotMember,
    /// Not allowed to this user.
    Forbidden,
    /// Too often; wait as long as told.
    RateLimited,
    /// A limit on a count (devices, members) is reached.
    Limit,
    /// Something this needs is down; try again as told.
    Unavailable,
    /// The frame was set aside after it failed the system itself; operators have it.
    Dead,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::Unknown,
        Self::Invalid,
        Self::TooLong,
        Self::NotLoggedIn,
        Self::AlreadyLoggedIn,
        Self::Token,
        Self::Credentials,
        Self::NotFound,
        Self::Taken,
        Self::Blocked,
        Self::Waiting,
        Self::Exists,
        Self::NoRequest,
        Self::NotMember,
        Self::Forbidden,
        Self::RateLimited,
        Self::Limit,
        Self::Unavailable,
        Self::Dead,
    ];

    /// As it stands in `code = "…"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::TooLong => "too_long",
            Self::NotLoggedIn => "not_logged_in",
            Self::AlreadyLoggedIn => "already_logged_in",
            Self::Token => "token",
            Self::Credentials => "credentials",
            Self::NotFound => "not_found",
            Self::Taken => "taken",
            Self::Blocked => "blocked",
            Self::Waiting => "waiting",
            Self::Exists => "exists",
            Self::NoRequest => "no_request",
            Self::NotMember => "not_member",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
            Self::Dead => "dead",
        }
    }

    /// The code that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The HTTP status that goes with it.
    pub fn http(self) -> u16 {
        match self {
            Self::Malformed | Self::Unknown | Self::Invalid | Self::NotLoggedIn | Self::Dead => 400,
            Self::Token | Self::Credentials => 401,
            Self::Blocked | Self::NotMember | Self::Forbidden => 403,
            Self::NotFound | Self::NoRequest => 404,
            Self::Taken | Self::Waiting | Self::Exists | Self::AlreadyLoggedIn | Self::Limit => 409,
            Self::TooLong => 413,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request over TCP, `[[r]] t = "…"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestName {
    /// First login of a connection.
    Login,
    /// The same after a lost connection.
    Reconnect,
    /// Asks a user to become a contact.
    AddContact,
    /// Accepts such a request.
    AcceptContact,
    /// Turns it down.
    DeclineContact,
    /// Ends a contact.
    DeleteContact,
    /// Refuses everything from a user from now on.
    Block,
    /// Ends that.
    Unblock,
    /// Makes a group with members.
    CreateGroup,
    /// Adds a member.
    CreateGroupMember,
    /// Leaves, or removes a member.
    DeleteGroupMember,
    /// Dissolves a group.
    DeleteGroup,
}

impl RequestName {
    /// Every request.
    pub const ALL: [Self; 12] = [
        Self::Login,
        Self::Reconnect,
        Self::AddContact,
        Self::AcceptContact,
        Self::DeclineContact,
        Self::DeleteContact,
        Self::Block,
        Self::Unblock,
        Self::CreateGroup,
        Self::CreateGroupMember,
        Self::DeleteGroupMember,
        Self::DeleteGroup,
    ];

    /// As it stands in `t = "…"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Reconnect => "reconnect",
            Self::AddContact => "add_contact",
            Self::AcceptContact => "accept_contact",
            Self::DeclineContact => "decline_contact",
            Self::DeleteContact => "delete_contact",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::CreateGroup => "create_group",
            Self::CreateGroupMember => "create_group_member",
            Self::DeleteGroupMember => "delete_group_member",
            Self::DeleteGroup => "delete_group",
        }
    }

    /// The request that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }
}

impl fmt::Display for RequestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who may make an HTTP call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Anyone; a password may be among the arguments.
    Anyone,
    /// Whoever has a token.
    Token,
}

/// An HTTP call as the table has it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its name on the broker, under `rpc`: `account.…` where a password may be inside, `api.…` otherwise.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Path as axum writes it; `{name}` parts become arguments of that name.
    pub path: &'static str,
    /// Who may call.
    pub caller: Caller,
    /// The arguments it knows, from path, query and form alike; `!` marks a required one.
    pub args: &'static [&'static str],
    /// It only reads, so that it may be carried out twice, or late. Not so `api.offline`: the page that it shows is what
    /// clearing clears, and one carried out late would have messages cleared that nobody was shown.
    pub repeatable: bool,
}

/// Every HTTP call that a worker answers.
pub const CALLS: &[Call] = &[
    Call {
        name: "account.register",
        method: "POST",
        path: "/user",
        caller: Caller::Anyone,
        args: &["phone!", "name!", "password!", "avatar"],
        repeatable: false,
    },
    Call {
        name: "account.update",
        method: "PUT",
        path: "/user",
        caller: Caller::Token,
        args: &["name", "avatar", "password", "old_password"],
        repeatable: false,
    },
    Call {
        name: "account.login",
        method: "POST",
        path: "/server/login",
        caller: Caller::Anyone,
        args: &["phone!", "password!", "device"],
        repeatable: false,
    },
    Call {
        name: "api.reconnect",
        method: "POST",
        path: "/server/reconnect",
        caller: Caller::Token,
        args: &["id!"],
        repeatable: false,
    },
    Call {
        name: "api.failed",
        method: "POST",
        path: "/server/failed",
        caller: Caller::Token,
        args: &[],
        repeatable: false,
    },
    Call {
        name: "api.logout",
        method: "POST",
        path: "/server/logout",
        caller: Caller::Token,
        args: &[],
        repeatable: false,
    },
    Call {
        name: "api.offline",
        method: "GET",
        path: "/offline",
        caller: Caller::Token,
        args: &["limit"],
        repeatable: false,
    },
    Call {
        name: "api.offline_clear",
        method: "DELETE",
        path: "/offline",
        caller: Caller::Token,
        args: &["upto"],
        repeatable: false,
    },
    Call {
        name: "api.user_by_phone",
        method: "GET",
        path: "/user/phone/{phone}",
        caller: Caller::Token,
        args: &["phone!"],
        repeatable: true,
    },
    Call {
        name: "api.user_by_id",
        method: "GET",
        path: "/user/id/{id}",
        caller: Caller::Token,
        args: &["id!"],
        repeatable: true,
    },
    Call {
        name: "api.contacts",
        method: "GET",
        path: "/contact/version/{version}",
        caller: Caller::Token,
        args: &["version!"],
        repeatable: true,
    },
    Call {
        name: "api.requests",
        method: "GET",
        path: "/contact/request",
        caller: Caller::Token,
        args: &["after"],
        repeatable: true,
    },
    Call {
        name: "api.blocked",
        method: "GET",
        path: "/contact/blocked",
        caller: Caller::Token,
        args: &["after"],
        repeatable: true,
    },
    Call {
        name: "api.devices",
        method: "GET",
        path: "/device",
        caller: Caller::Token,
        args: &[],
        repeatable: true,
    },
    Call {
        name: "api.device_end",
        method: "DELETE",
        path: "/device",
        caller: Caller::Token,
        args: &["device!"],
        repeatable: false,
    },
    Call {
        name: "api.conversations",
        method: "GET",
        path: "/conversation",
        caller: Caller::Token,
        args: &["limit", "after"],
        repeatable: true,
    },
    Call {
        name: "api.groups",
        method: "GET",
        path: "/group",
        caller: Caller::Token,
        args: &["after"],
        repeatable: true,
    },
    Call {
        name: "api.group",
        method: "GET",
        path: "/group/{id}",
        caller: Caller::Token,
        args: &["id!"],
        repeatable: true,
    },
    Call {
        name: "api.history",
        method: "GET",
        path: "/history",
        caller: Caller::Token,
        args: &["with", "group", "before", "limit"],
        repeatable: true,
    },
];

/// The call of that name.
pub fn call(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_requests_read_back() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        for name in RequestName::ALL {
            assert_eq!(RequestName::parse(name.as_str()), Some(name));
        }
    }

    #[test]
    fn only_what_reads_is_repeated() {
        let repeatable: Vec<_> = CALLS.iter().filter(|call| call.repeatable).collect();
        assert!(
            !repeatable.is_empty() && repeatable.iter().all(|call| call.method == "GET"),
            "{repeatable:?}"
        );
        assert!(!call("api.offline").unwrap().repeatable, "it notes what clearing clears");
    }

    #[test]
    fn only_account_calls_take_passwords() {
        for call in CALLS {
            let secret = call.args.iter().any(|arg| arg.contains("password"));
            assert_eq!(secret, call.name.starts_with("account."), "{}", call.name);
        }
    }
}
