//! What will air as XMLTV, in the order of elements that its DTD asks for.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use programme::rehearse::Rehearsal;

/// The guide of one channel; times are shown in `zone`. The slate is no programme.
pub(super) fn guide(channel: &str, zone: &TimeZone, rehearsal: &Rehearsal) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str("<!DOCTYPE tv SYSTEM \"xmltv.dtd\">\n");
    text.push_str("<tv generator-info-name=\"stream-controller\">\n");
    let channel = escaped(channel);
    line(
        &mut text,
        format_args!(
            "  <channel id=\"{channel}\"><display-name>{channel}</display-name></channel>"
        ),
    );
    for airing in &rehearsal.airings {
        let Some(title) = airing.title.as_ref().or(airing.key.as_ref()) else {
            continue;
        };
        if airing.begins.as_second() == airing.ends.as_second() {
            // The last moment of an item that a block has cut: a guide has whole seconds.
            continue;
        }
        let (start, stop) = (time(airing.begins, zone), time(airing.ends, zone));
        line(
            &mut text,
            format_args!("  <programme start=\"{start}\" stop=\"{stop}\" channel=\"{channel}\">"),
        );
        line(
            &mut text,
            format_args!("    <title>{}</title>", escaped(title)),
        );
        if let Some(block) = &airing.block {
            line(
                &mut text,
                format_args!("    <category>{}</category>", escaped(block)),
            );
        }
        let length_s = airing.ends.duration_since(airing.begins).as_secs();
        line(
            &mut text,
            format_args!("    <length units=\"seconds\">{length_s}</length>"),
        );
        if let Some(rating) = &airing.rating {
            let rating = escaped(rating);
            line(
                &mut text,
                format_args!("    <rating><value>{rating}</value></rating>"),
            );
        }
        text.push_str("  </programme>\n");
    }
    if let Some(last) = rehearsal.airings.last().filter(|_| rehearsal.truncated) {
        line(
            &mut text,
            format_args!(
                "  <!-- There is more: ask again with from={} -->",
                last.ends
            ),
        );
    }
    text.push_str("</tv>\n");
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone())
        .strftime("%Y%m%d%H%M%S %z")
        .to_string()
}

/// Also without the characters that XML 1.0 has no way to write.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            c if c.is_control() => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use programme::rehearse::Airing;

    use super::*;

    fn airing(key: &str) -> Airing {
        Airing {
            begins: "2026-03-29T00:30:00Z".parse().expect("an instant"),
            ends: "2026-03-29T01:30:00Z".parse().expect("an instant"),
            block: Some("A & B".to_owned()),
            filler: false,
            key: Some(key.to_owned()),
            title: Some("Tom <& \"Jerry\">\u{1}".to_owned()),
            rating: Some("FSK 12".to_owned()),
            from_s: 0.0,
            cut: false,
            assumed: false,
        }
    }

    /// Children of `programme` in the DTD's order, as far as they are written here.
    const ORDER: [&str; 4] = ["title", "category", "length", "rating"];

    #[test]
    fn a_guide_keeps_to_the_dtd() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let mut bare = airing("b.mp4");
        (bare.title, bare.block, bare.rating) = (None, None, None);
        let mut slate = airing("");
        (slate.title, slate.key) = (None, None);
        let mut moment = airing("c.mp4");
        moment.ends = moment.begins + jiff::SignedDuration::from_millis(400);
        let mut rehearsal = Rehearsal {
            airings: vec![airing("a.mp4"), slate, moment, bare],
            problems: Vec::new(),
            truncated: true,
        };
        let cut_short = guide("main", &zone, &rehearsal);
        assert!(
            cut_short.contains("<!-- There is more: ask again with from=2026-03-29T01:30:00Z -->"),
            "{cut_short}"
        );
        rehearsal.truncated = false;
        let text = guide("main", &zone, &rehearsal);
        // The clock is put forward in between.
        assert!(
            text.contains("start=\"20260329013000 +0100\" stop=\"20260329033000 +0200\""),
            "{text}"
        );
        assert!(
            text.contains("<title>Tom &lt;&amp; &quot;Jerry&quot;&gt;\u{FFFD}</title>"),
            "{text}"
        );
        assert!(
            text.contains("<length units=\"seconds\">3600</length>"),
            "{text}"
        );
        let programmes: Vec<&str> = text.split("<programme ").skip(1).collect();
        assert_eq!(programmes.len(), 2, "slate and moment are none: {text}");
        for programme in programmes {
            let (attributes, inside) = programme.split_once('>').expect("its end");
            for name in ["start=", "stop=", "channel=\"main\""] {
                assert!(attributes.contains(name), "{attributes}");
            }
            let inside = inside.split("</programme>").next().expect("its end");
            let places: Vec<usize> = inside
                .lines()
                .filter_map(|line| {
                    let name = line.trim().strip_prefix('<')?;
                    ORDER.iter().position(|known| name.starts_with(known))
                })
                .collect();
            assert_eq!(places.first(), Some(&0), "a title is required: {inside}");
            assert!(places.is_sorted(), "{inside}");
            let children = inside.lines().filter(|line| !line.trim().is_empty());
            assert_eq!(places.len(), children.count(), "nothing else: {inside}");
        }
        assert!(text.find("<channel").expect("one") < text.find("<programme").expect("one"));
    }
}
