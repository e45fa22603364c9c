//! How a connection can end.

use std::io;

use shared::frame::Decoder;

use crate::outbox::Close;

/// The ways, told apart in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client closed it between two frames.
    Clean,
    /// The client closed it in the middle of a frame.
    MidFrame,
    /// It broke.
    Reset,
    /// No login in time.
    LoginDeadline,
    /// Nothing came for `limits.idle_seconds`.
    Idle,
    /// The client does not read.
    WriteStalled,
    /// Its bytes can no longer be cut into frames.
    BadStream,
    /// The node ended it.
    Closed(Close),
}

impl End {
    /// The metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::MidFrame => "mid_frame",
            Self::Reset => "reset",
            Self::LoginDeadline => "login_deadline",
            Self::Idle => "idle",
            Self::WriteStalled => "write_stalled",
            Self::BadStream => "bad_stream",
            Self::Closed(Close::Replaced) => "replaced",
            Self::Closed(Close::Revoked) => "revoked",
            Self::Closed(Close::Kicked) => "kicked",
            Self::Closed(Close::Drain) => "drain",
            Self::Closed(Close::Wiped) => "stream_wiped",
        }
    }

    /// The same, knowing whether a frame was under way.
    pub fn with(self, decoder: &Decoder) -> Self {
        if self == Self::Clean && decoder.mid_frame() { Self::MidFrame } else { self }
    }

    /// Whether the client may still be there, to read what was written last.
    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Clean | Self::MidFrame | Self::Reset | Self::WriteStalled)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut { Self::WriteStalled } else { Self::Reset }
    }
}
