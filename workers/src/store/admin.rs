//! What operators ask and change, by `simple-im admin`. Nothing of it is on the hot path.
//!
//! | module | holds |
//! |---|---|
//! | [`audit`] | who did what |
//! | [`people`] | accounts, tokens and devices |
//! | [`lanes`] | owners, marks and counts of lanes; their number |
//! | [`dead`] | the account of dead frames that are put back |
//! | [`retention`] | removing old messages |
//! | [`restore`] | what a restored backup must not do again |

pub mod audit;
pub mod dead;
pub mod lanes;
pub mod people;
pub mod restore;
pub mod retention;
