//! Spans of time as configuration writes them: whole numbers whose unit is in the key's name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! span {
    ($(#[$doc:meta])* $name:ident, $from:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// As a duration.
            pub fn get(self) -> Duration {
                $from(self.0)
            }

            /// As a duration, where 0 stands for "never".
            pub fn unless_zero(self) -> Option<Duration> {
                (self.0 > 0).then(|| self.get())
            }
        }

        impl From<$name> for Duration {
            fn from(span: $name) -> Duration {
                span.get()
            }
        }
    };
}

span!(/** Milliseconds. */ Millis, Duration::from_millis);
span!(/** Seconds. */ Seconds, Duration::from_secs);
