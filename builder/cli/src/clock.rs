//! Times as people read them.

use jiff::Timestamp;

/// `3 hours ago`, from a time in RFC 3339; `-` where that is none or long before there were images.
pub(crate) fn ago(created: Option<&str>) -> String {
    match created.and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(time) => between(time, Timestamp::now()),
        None => "-".to_owned(),
    }
}

fn between(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(time.as_second());
    let several = |count: i64, unit: &str| format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
    match seconds {
        ..0 => "in the future".to_owned(),
        0..60 => several(seconds, "second"),
        60..3600 => several(seconds / 60, "minute"),
        3600..172_800 => several(seconds / 3600, "hour"),
        172_800..5_184_000 => several(seconds / 86_400, "day"),
        5_184_000..63_072_000 => several(seconds / 2_592_000, "month"),
        63_072_000..1_400_000_000 => several(seconds / 31_536_000, "year"),
        // Reproducible images are from 1970 or 1980.
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_fits_the_distance() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let shown = |seconds: i64| between(Timestamp::from_second(1_800_000_000 - seconds).unwrap(), now);
        assert_eq!(
            [shown(1), shown(3600), shown(90_000), shown(200_000), shown(-5), shown(1_800_000_000)],
            ["1 second ago", "1 hour ago", "25 hours ago", "2 days ago", "in the future", "-"]
        );
        assert_eq!(ago(Some("not a time")), "-");
        assert_eq!(ago(None), "-");
    }
}
