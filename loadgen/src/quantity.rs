//! Sizes and durations as people type them, and back again.

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const DURATION_UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// The longest duration that is accepted: a day, so that no sum of instants can overflow.
const LONGEST_S: f64 = 86_400.0;

/// Reads a size such as `200KB` (200,000 bytes) or `64KiB` (65,536 bytes).
///
/// Errors say which part is wrong and which forms are accepted.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    let Some((_, factor)) =
        SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))
    else {
        return Err(format!("unknown unit {unit:?}: use B, KB, MB, GB, KiB, MiB or GiB"));
    };
    let count: u64 =
        number.parse().map_err(|_| format!("{number:?} is not a whole number: write 200KB"))?;
    count.checked_mul(*factor).ok_or_else(|| format!("{text:?} is more than 64 bits hold"))
}

/// Reads a duration such as `6s`, `500ms`, `1.5m`; at most a day, at least a millisecond.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let Some((_, factor)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit.trim()) else {
        return Err(format!("{text:?} has no unit of time: write 500ms, 6s, 2m or 1h"));
    };
    let count: f64 =
        number.parse().map_err(|_| format!("{number:?} is not a number: write 6s or 1.5m"))?;
    let seconds = count * factor;
    if !(0.001..=LONGEST_S).contains(&seconds) {
        return Err(format!("{text:?} is outside 1ms to 24h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// The highest rate that is accepted; far more than one machine opens.
const HIGHEST_RATE: f64 = 100_000.0;

/// Reads a rate such as `500/s`, `500` or `90/m`, as a number a second; at least one in 10 s.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = number_and_unit(text);
    let seconds = match unit.trim() {
        "" | "/s" => 1.0,
        "/m" => 60.0,
        _ => return Err(format!("{text:?} is not a rate: write 500/s or 90/m")),
    };
    let count: f64 =
        number.parse().map_err(|_| format!("{number:?} is not a number: write 500/s"))?;
    let rate = count / seconds;
    if !(0.1..=HIGHEST_RATE).contains(&rate) {
        return Err(format!("{text:?} is outside 0.1/s to {HIGHEST_RATE}/s"));
    }
    Ok(rate)
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    text.split_at(end)
}

/// A size in the largest decimal unit that keeps it readable: `200.0 KB`.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let (value, unit) = scaled(bytes, 1000.0, UNITS.len());
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Memory in binary units, as the kernel counts it: `12.4 MiB`.
pub fn show_memory(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let (value, unit) = scaled(bytes, 1024.0, UNITS.len());
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn scaled(bytes: u64, step: f64, units: usize) -> (f64, usize) {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units {
        value /= step;
        unit += 1;
    }
    (value, unit)
}

/// A time given in microseconds, in the unit that fits: `870 µs`, `12.3 ms`, `1.20 s`.
pub fn show_micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// A whole number with its thousands set apart: `5,000`.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_decimal_and_binary_units() {
        let table: [(&str, Option<u64>); 12] = [
            ("200KB", Some(200_000)),
            ("200kb", Some(200_000)),
            ("200 KB", Some(200_000)),
            ("64KiB", Some(65_536)),
            ("1MiB", Some(1 << 20)),
            ("2GB", Some(2_000_000_000)),
            ("17", Some(17)),
            ("0", Some(0)),
            ("", None),
            ("KB", None),
            ("2XB", None),
            ("99999999999999GiB", None),
        ];
        for (text, expected) in table {
            assert_eq!(size_bytes(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_stay_within_a_day() {
        let table: [(&str, Option<u64>); 10] = [
            ("6s", Some(6_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("1.5s", Some(1_500)),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("6", None),
            ("s", None),
            ("0s", None),
            ("-1s", None),
        ];
        for (text, expected) in table {
            let got = duration(text).ok().map(|d| d.as_millis() as u64);
            assert_eq!(got, expected, "{text:?}");
        }
    }

    #[test]
    fn rates_are_a_second_unless_said_otherwise() {
        let table: [(&str, Option<f64>); 8] = [
            ("500/s", Some(500.0)),
            ("500", Some(500.0)),
            ("90/m", Some(1.5)),
            ("0.5/s", Some(0.5)),
            ("0/s", None),
            ("1000000/s", None),
            ("5/h", None),
            ("/s", None),
        ];
        for (text, expected) in table {
            assert_eq!(rate(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(show_count(1_234_567), "1,234,567");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_size(200_000), "200.0 KB");
        assert_eq!(show_size(12), "12 B");
        assert_eq!(show_memory(3 << 20), "3.0 MiB");
        assert_eq!(show_micros(870), "870 µs");
        assert_eq!(show_micros(12_300), "12.3 ms");
        assert_eq!(show_micros(1_200_000), "1.20 s");
    }
}
