//! Strings of strangers made fit to show: an IUT chooses what stands in an endpoint name, a
//! diagnostic payload or its own output, and none of it may steer a terminal or break a file.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Removes terminal control sequences (ECMA-48 section 5.4 and 5.6): CSI, OSC and the other
/// strings, and two-character escapes. A string that is never ended loses its introducer only.
#[must_use]
pub fn strip_ansi(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\u{1b}', '\u{9b}', '\u{9d}', '\u{90}', '\u{98}', '\u{9e}', '\u{9f}']) {
        out.push_str(&rest[..at]);
        rest = skip_sequence(&rest[at..]);
    }
    out.push_str(rest);
    out
}

/// What follows the control sequence at the start of the text.
fn skip_sequence(text: &str) -> &str {
    let mut chars = text.chars();
    let introducer = match chars.next() {
        // The seven-bit form: ESC and a character stand for one of C1.
        Some('\u{1b}') => match chars.next() {
            Some(second @ '@'..='_') => char::from_u32(u32::from(second) + 0x40),
            // Escapes with intermediates, such as the choice of a character set.
            Some(' '..='/') => {
                let rest = chars.as_str().trim_start_matches(|c| matches!(c, ' '..='/'));
                return rest.strip_prefix(|c| matches!(c, '0'..='~')).unwrap_or(rest);
            }
            Some('0'..='~') => return chars.as_str(),
            _ => return &text[1..],
        },
        other => other,
    };
    let body = chars.as_str();
    match introducer {
        Some('\u{9b}') => {
            let rest = body.trim_start_matches(|c| matches!(c, '0'..='?'));
            let rest = rest.trim_start_matches(|c| matches!(c, ' '..='/'));
            rest.strip_prefix(|c| matches!(c, '@'..='~')).unwrap_or(rest)
        }
        Some('\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}') => {
            let end = body.char_indices().find_map(|(at, c)| match c {
                '\u{7}' | '\u{9c}' => Some(at + c.len_utf8()),
                '\u{1b}' if body[at..].starts_with("\u{1b}\\") => Some(at + 2),
                _ => None,
            });
            end.map_or(body, |end| &body[end..])
        }
        _ => body,
    }
}

/// Whether the character acts on its surroundings instead of being seen: controls, and the
/// format characters that reorder or hide text, and codes that are no characters.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn push_seen(out: &mut String, c: char) {
    if is_unseen(c) {
        out.extend(c.escape_unicode());
    } else {
        out.push(c);
    }
}

/// The text on one line, without control sequences; a run of line ends and tabs becomes one space, other
/// characters that cannot be seen are written as `\u{..}`.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in strip_ansi(text).trim().chars() {
        match c {
            '\n' | '\r' | '\t' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ => push_seen(&mut out, c),
        }
    }
    out
}

/// The text as lines, without control sequences; other characters that cannot be seen are
/// written as `\u{..}`.
#[must_use]
pub fn lines(text: &str) -> Vec<String> {
    let text = strip_ansi(text)
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\t', "    ");
    text.trim_end()
        .lines()
        .map(|line| {
            let mut out = String::with_capacity(line.len());
            for c in line.chars() {
                push_seen(&mut out, c);
            }
            out
        })
        .collect()
}

/// Whether XML 1.0 (fifth edition, section 2.2, `Char`) allows the character, C1 left out as
/// that section advises.
#[must_use]
pub const fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// The text without control sequences, and U+FFFD for what XML 1.0 does not allow; line ends
/// as XML would read them back.
#[must_use]
pub fn xml(text: &str) -> String {
    let text = strip_ansi(text).replace("\r\n", "\n").replace('\r', "\n");
    text.chars()
        .map(|c| if is_xml(c) { c } else { char::REPLACEMENT_CHARACTER })
        .collect()
}

/// [`xml`], for the inside of a CDATA section: its end mark is split over two sections.
#[must_use]
pub fn cdata(text: &str) -> String {
    xml(text).replace("]]>", "]]]]><![CDATA[>")
}

/// Columns that the text takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// Cuts a line to a width; `…` tells that something is missing.
#[must_use]
pub fn fit(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > limit {
            break;
        }
        out.push(c);
    }
    if limit > 0 {
        out.push('…');
    }
    out
}

/// Breaks a line at spaces to lines of at most some columns; a longer word is broken where it
/// reaches the edge.
#[must_use]
pub fn wrap(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(8);
    let mut lines = vec![];
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        if used > 0 && used + width(word.trim_end()) > limit {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for c in word.chars() {
            let columns = c.width().unwrap_or(0);
            // Spaces at the edge are cut below.
            if used + columns > limit && c != ' ' {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += columns;
        }
    }
    lines.push(line);
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

/// A duration in the unit that suits it.
#[must_use]
pub fn duration(ms: f64) -> String {
    if ms.is_nan() || ms <= 0.0 {
        return "0 ms".to_owned();
    }
    let seconds = (ms / 1000.0).min(1e12);
    if ms < 0.95 {
        "<1 ms".to_owned()
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive and bounded above"
        )]
        let whole = seconds.round() as u64;
        if whole < 3600 {
            format!("{} min {:02} s", whole / 60, whole % 60)
        } else {
            format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
        }
    }
}

/// A number with its noun: `1 case`, `2 cases`.
#[must_use]
pub fn count(number: u32, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_go_whole() {
        for (text, left) in [
            ("\u{1b}[31;1mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Btext", "text"),
            ("\u{1b}ctext", "text"),
            ("\u{9b}2Jtext", "text"),
            ("\u{9d}0;title\u{9c}text", "text"),
            ("\u{1b}Pq#0\u{1b}\\text", "text"),
            ("\u{1b}]never ended", "never ended"),
            ("\u{1b}[", ""),
            ("\u{1b}", ""),
            ("\u{1b}é", "é"),
            ("plain", "plain"),
        ] {
            assert_eq!(strip_ansi(text), left, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_spelled_out() {
        assert_eq!(
            one_line(" a\r\n\tb\u{0}\u{202e}c  d\u{1fffe} "),
            "a b\\u{0}\\u{202e}c  d\\u{1fffe}"
        );
        assert_eq!(lines("a\r\nb\rc\u{7}\n\n"), ["a", "b", "c\\u{7}"]);
    }

    #[test]
    fn xml_keeps_what_xml_allows() {
        assert_eq!(
            xml("a\u{0}b\u{fffe}c\u{1f600}\r\nd\u{8}"),
            "a\u{fffd}b\u{fffd}c\u{1f600}\nd\u{fffd}"
        );
        assert_eq!(cdata("x]]>y"), "x]]]]><![CDATA[>y");
        // Removing a sequence may join what ends the section.
        assert_eq!(cdata("]]\u{1b}[0m>"), "]]]]><![CDATA[>");
    }

    #[test]
    fn lines_are_broken_at_spaces_and_long_words_at_the_edge() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("abcdefghijkl mn", 10), ["abcdefghij", "kl mn"]);
        assert_eq!(wrap("漢字漢字漢字", 8), ["漢字漢字", "漢字"]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(fit("漢字漢字", 5), "漢字…");
        assert_eq!(fit("abcde", 5), "abcde");
        assert_eq!(fit("abcdef", 5), "abcd…");
    }

    #[test]
    fn durations_take_the_unit_that_suits_them() {
        let texts: Vec<_> = [
            f64::NAN,
            -1.0,
            0.0,
            0.2,
            1.0,
            999.4,
            999.6,
            59_900.0,
            59_990.0,
            3_599_400.0,
            3_599_600.0,
        ]
        .map(duration)
        .into();
        assert_eq!(
            texts,
            [
                "0 ms",
                "0 ms",
                "0 ms",
                "<1 ms",
                "1 ms",
                "999 ms",
                "1.0 s",
                "59.9 s",
                "1 min 00 s",
                "59 min 59 s",
                "1 h 00 min"
            ]
        );
    }
}
