//! The answer to backlog reads that were asked for together: a page a read, in order.
//!
//! Counted documents back to back: first one that says how the pages lie, then the deliveries of all of them.
//!
//! ```toml
//! deliveries = [0, 2, 0]
//! how = ["done", "more", "replaced"]
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Delivery, NotADelivery, encode, read};
use crate::frame;

/// How a read has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Nothing is owed beyond its deliveries.
    Done,
    /// There is more to ask for.
    More,
    /// It was not carried out, as the answer had no room left or a row could not be read: to be asked again.
    Unread,
    /// The session is not its device's newest any more.
    Replaced,
    /// The session's token was revoked.
    Revoked,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    deliveries: Vec<u32>,
    how: Vec<How>,
}

/// Pages being written.
#[derive(Debug, Default)]
pub struct Pages {
    head: Head,
    body: Vec<u8>,
    /// Deliveries of the page that is written now.
    here: u32,
}

impl Pages {
    /// Adds a delivery to the page that is written now.
    pub fn put(&mut self, delivery: &Delivery) {
        encode(delivery, &mut self.body);
        self.here += 1;
    }

    /// Ends the page that is written now.
    pub fn end(&mut self, how: How) {
        self.head.deliveries.push(std::mem::take(&mut self.here));
        self.head.how.push(how);
    }

    /// Bytes of deliveries so far.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// All that was written.
    pub fn into_payload(self) -> Vec<u8> {
        let head = crate::rpc::to_vec(&self.head);
        let mut payload = Vec::with_capacity(head.len() + self.body.len() + 16);
        frame::write(frame::Form::Counted, &head, &mut payload);
        payload.extend_from_slice(&self.body);
        payload
    }
}

/// Reads pages: each one's deliveries, and how it has ended. Bodies share the payload's memory.
///
/// # Errors
/// [`NotADelivery`], for the answer as a whole.
pub fn decode_pages(payload: &Bytes) -> Result<Vec<(Vec<Delivery>, How)>, NotADelivery> {
    let frames = frame::split_counted(payload)
        .map_err(|error| read::wrong("counted frames back to back", &error.to_string()))?;
    let (head, rest) = frames.split_first().ok_or_else(|| read::wrong("how the pages lie", "nothing"))?;
    let head: Head = crate::rpc::from_slice(head)
        .map_err(|error| read::wrong("`deliveries` and `how` of each page", error.message()))?;
    let told: u64 = head.deliveries.iter().map(|count| u64::from(*count)).sum();
    if head.deliveries.len() != head.how.len() || told != rest.len() as u64 {
        let found = format!("{} ends, and {} in place of {told}", head.how.len(), rest.len());
        return Err(read::wrong("an end a page, and the deliveries that were told", &found));
    }
    let mut rest = rest.iter();
    let page = |(count, how): (&u32, &How)| {
        let deliveries = rest.by_ref().take(*count as usize).map(read::one).collect::<Result<_, _>>()?;
        Ok((deliveries, *how))
    };
    head.deliveries.iter().zip(&head.how).map(page).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_read_back() {
        let mut pages = Pages::default();
        pages.end(How::Done);
        pages.put(&Delivery::Resync);
        pages.put(&Delivery::Resync);
        pages.end(How::More);
        pages.end(How::Revoked);
        let read = decode_pages(&pages.into_payload().into()).unwrap();
        let resync = || Delivery::Resync;
        assert_eq!(
            read,
            [(vec![], How::Done), (vec![resync(), resync()], How::More), (vec![], How::Revoked)]
        );
        assert_eq!(decode_pages(&Pages::default().into_payload().into()).unwrap(), []);
    }

    #[test]
    fn pages_that_do_not_fit_their_head_are_told() {
        let payload = |head: &str, resyncs: usize| {
            let mut payload = Vec::new();
            frame::write(frame::Form::Counted, head.as_bytes(), &mut payload);
            (0..resyncs).for_each(|_| encode(&Delivery::Resync, &mut payload));
            Bytes::from(payload)
        };
        for (head, resyncs) in [
            ("deliveries = [1]\nhow = [\"done\"]\n", 0),
            ("deliveries = [1]\nhow = [\"done\"]\n", 2),
            ("deliveries = [1, 0]\nhow = [\"done\"]\n", 1),
            ("deliveries = [4294967295, 4294967295]\nhow = [\"done\", \"done\"]\n", 1),
            ("deliveries = [1]\nhow = [\"gone\"]\n", 1),
            ("", 0),
        ] {
            assert!(decode_pages(&payload(head, resyncs)).is_err(), "{head} {resyncs}");
        }
        assert!(decode_pages(&Bytes::new()).is_err());
        assert_eq!(decode_pages(&payload("deliveries = [1]\nhow = [\"done\"]\n", 1)).unwrap().len(), 1);
    }
}
