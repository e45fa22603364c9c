//! Where a client's frame has numbers, for dialects in which they may come as strings of their digits.

/// The keys of an entry whose value is a number, or numbers.
pub(crate) fn is_number(key: &str) -> bool {
    matches!(key, "to" | "from" | "group" | "group_id" | "member_id" | "members" | "seq")
}

/// The same within the sub-table of this name.
pub(crate) fn is_number_in(table: &str, key: &str) -> bool {
    matches!(table, "to" | "from" | "user") && matches!(key, "id" | "group")
}

/// A whole number as it is written, of those that TOML has: up to 9,223,372,036,854,775,807.
pub(crate) fn is_digits(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_ok();
    plain && (text == "0" || !text.starts_with('0'))
}
