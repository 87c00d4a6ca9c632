//! Words of a generated picture, drawn as boxes: an FFmpeg without a font can do that too.

/// Dots of a letter.
const WIDE: u32 = 5;
const HIGH: u32 = 7;
/// From one letter to the next, dots.
const STEP: u32 = WIDE + 1;

/// The filters that write `text` into the middle of a picture of this size, in two thirds of its width.
///
/// Only letters that are drawn below can be seen.
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
        for (row, dots) in drawn(letter).into_iter().enumerate() {
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
fn runs(row: u8) -> Vec<(u32, u32)> {
    let is_set = |at: u32| at < WIDE && row & (1 << (WIDE - 1 - at)) != 0;
    let mut runs = Vec::new();
    let mut at = 0;
    while at < WIDE {
        let from = at;
        while is_set(at) {
            at += 1;
        }
        if at > from {
            runs.push((from, at - from));
        }
        at += 1;
    }
    runs
}

/// A letter's rows from the top.
fn drawn(letter: char) -> [u8; HIGH as usize] {
    match letter {
        'E' => [
            0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111,
        ],
        'G' => [
            0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01110,
        ],
        'I' => [
            0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110,
        ],
        'L' => [
            0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111,
        ],
        'N' => [
            0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001,
        ],
        'O' => [
            0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110,
        ],
        'S' => [
            0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110,
        ],
        'V' => [
            0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100,
        ],
        _ => [0; HIGH as usize],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_side_by_side_are_one_box() {
        assert_eq!(runs(0b11111), [(0, 5)]);
        assert_eq!(runs(0b10101), [(0, 1), (2, 1), (4, 1)]);
        assert_eq!(runs(0b01100), [(1, 2)]);
        assert_eq!(runs(0), []);
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
