//! Words of a generated picture, drawn as boxes: an FFmpeg without a font can do that too.

/// Dots of a letter.
const WIDE: u32 = 5;
const HIGH: u32 = 7;
/// From one letter to the next, dots.
const STEP: u32 = WIDE + 1;
const DOT: char = '#';
/// Those that can be written, as they stand in the rows below.
const LETTERS: &str = "EGILNOSV";
const DRAWN: [&str; HIGH as usize] = [
    "##### .###. .###. #.... #...# .###. .#### #...#",
    "#.... #...# ..#.. #.... ##..# #...# #.... #...#",
    "#.... #.... ..#.. #.... #.#.# #...# #.... #...#",
    "####. #.### ..#.. #.... #..## #...# .###. #...#",
    "#.... #...# ..#.. #.... #...# #...# ....# #...#",
    "#.... #...# ..#.. #.... #...# #...# ....# .#.#.",
    "##### .###. .###. ##### #...# .###. ####. ..#..",
];

/// The filters that write `text` into the middle of a picture of this size, in two thirds of its width.
///
/// Only [`LETTERS`] can be seen.
pub(super) fn write(text: &str, colour: &str, (width, height): (u32, u32)) -> Vec<String> {
    let dots = text.chars().count() as u32 * STEP - 1;
    // Two pixels at least, and always an even number: colour has half the resolution.
    let dot = (width * 2 / 3 / dots / 2 * 2).max(2);
    let even = |pixels: u32| pixels / 2 * 2;
    let left = even(width.saturating_sub(dots * dot) / 2);
    let top = even(height.saturating_sub(HIGH * dot) / 2);
    let mut boxes = Vec::new();
    for (number, letter) in text.chars().enumerate() {
        let letter_left = left + number as u32 * STEP * dot;
        for (row, dots) in drawn(letter).enumerate() {
            for (from, count) in runs(dots) {
                let (x, y) = (letter_left + from * dot, top + row as u32 * dot);
                let wide = count * dot;
                boxes.push(format!(
                    "drawbox=x={x}:y={y}:w={wide}:h={dot}:c={colour}:t=fill"
                ));
            }
        }
    }
    boxes
}

/// Dots side by side in a row: where each begins, and how many.
fn runs(row: &str) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (at, _) in row.match_indices(DOT) {
        let at = at as u32;
        match runs.last_mut() {
            Some((from, count)) if *from + *count == at => *count += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

/// A letter's rows from the top; none of one that is not drawn.
fn drawn(letter: char) -> impl Iterator<Item = &'static str> {
    let number = LETTERS.chars().position(|drawn| drawn == letter);
    let left = number.map(|number| number * STEP as usize);
    let rows = left.map(|left| DRAWN.map(|row| &row[left..left + WIDE as usize]));
    rows.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_side_by_side_are_one_box() {
        assert_eq!(runs("#####"), [(0, 5)]);
        assert_eq!(runs("#.#.#"), [(0, 1), (2, 1), (4, 1)]);
        assert_eq!(runs(".##.."), [(1, 2)]);
        assert_eq!(runs("....."), []);
        assert_eq!(drawn('?').count(), 0, "it is not drawn");
    }

    #[test]
    fn a_word_stands_in_the_middle_whatever_the_picture() {
        for (width, height) in [(640, 360), (1920, 1080), (64, 36)] {
            let boxes = write("LIVE", "white", (width, height));
            let number = |text: &str, name: &str| -> u32 {
                let value = text.split(&format!("{name}=")).nth(1).unwrap();
                value.split(':').next().unwrap().parse().unwrap()
            };
            let lefts = boxes.iter().map(|one| number(one, "=x"));
            let rights = boxes
                .iter()
                .map(|one| number(one, "=x") + number(one, ":w"));
            let (left, right) = (lefts.min().unwrap(), rights.max().unwrap());
            assert!(left.abs_diff(width - right) <= 4, "{left} {right} {width}");
            let bottoms = boxes
                .iter()
                .map(|one| number(one, ":y") + number(one, ":h"));
            assert!(bottoms.max().unwrap() <= height, "{boxes:?}");
        }
    }
}
