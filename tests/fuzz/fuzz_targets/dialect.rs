//! Rewriting a line changes breaks and blanks only, never what stands between them, and never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::dialect::to_standard;

fuzz_target!(|line: &str| {
    if let Ok(text) = to_standard(line) {
        let kept = |text: &str| text.chars().filter(|char| !" \t\n".contains(*char)).collect::<String>();
        // A comment at the line's end is left out.
        assert!(kept(line).starts_with(&kept(&text)));
    }
});
