//! The calls about one's own account: name, password, devices.

use serde::Deserialize;

use super::{Api, ApiError, api::unreadable};
use crate::ids::Device;

/// A device of this user, as `GET /device` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDevice {
    /// Its name.
    pub device: Device,
    /// When it was last seen, Unix seconds; to the hour while it is connected.
    pub seen: i64,
    /// The one whose token asks.
    pub own: bool,
    /// Connected, as far as is known.
    pub online: bool,
    /// Logged out.
    pub ended: bool,
}

/// A row as it comes: what is not so is not there.
#[derive(Deserialize)]
struct Row {
    device: String,
    #[serde(default)]
    seen: i64,
    #[serde(default)]
    own: i64,
    #[serde(default)]
    online: i64,
    #[serde(default)]
    ended: i64,
}

impl Row {
    fn read(self) -> Option<OwnDevice> {
        Some(OwnDevice {
            device: Device::new(&self.device).ok()?,
            seen: self.seen,
            own: self.own == 1,
            online: self.online == 1,
            ended: self.ended == 1,
        })
    }
}

impl Api {
    /// Gives this user another name.
    ///
    /// # Errors
    /// [`ApiError`]; `invalid` or `too_long` for what is no name.
    pub async fn set_name(&self, token: &str, name: &str) -> Result<(), ApiError> {
        self.call("PUT", "/user", Some(token), &[("name", name)]).await?.success().map(drop)
    }

    /// Gives this user another password: all other tokens end with the old one.
    ///
    /// # Errors
    /// [`ApiError`]; `credentials` where `old` is not the one there is.
    pub async fn set_password(&self, token: &str, old: &str, new: &str) -> Result<(), ApiError> {
        let args = [("old_password", old), ("password", new)];
        self.call("PUT", "/user", Some(token), &args).await?.success().map(drop)
    }

    /// This user's devices, by name.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn devices(&self, token: &str) -> Result<Vec<OwnDevice>, ApiError> {
        let reply = self.call("GET", "/device", Some(token), &[]).await?.success()?;
        let rows: Option<_> =
            reply.rows("device").map(|row| row.clone().try_into::<Row>().ok()?.read()).collect();
        rows.ok_or_else(|| unreadable("[[device]] with its name", &reply))
    }

    /// Logs one of them out, wherever it is.
    ///
    /// # Errors
    /// [`ApiError`]; `not_found` where there is none of this name.
    pub async fn end_device(&self, token: &str, device: &Device) -> Result<(), ApiError> {
        let args = [("device", device.as_str())];
        self.call("DELETE", "/device", Some(token), &args).await?.success().map(drop)
    }
}
