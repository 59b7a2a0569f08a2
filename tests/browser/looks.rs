use testbed::{By, Chromium};

use crate::{counter::start, pictures::picture};

/// What normal text needs at least: <https://www.w3.org/TR/WCAG22/#contrast-minimum>.
const LEAST_CONTRAST: f64 = 4.5;

const COLOURS: &str = "
    const colours = element => {
        const ink = getComputedStyle(element).color;
        while (getComputedStyle(element).backgroundColor == 'rgba(0, 0, 0, 0)') {
            element = element.parentElement;
        }
        return [ink, getComputedStyle(element).backgroundColor];
    };
    return [...document.querySelectorAll('h1, p, code, a, footer, footer strong')].map(colours)";

/// Red, green and blue of `rgb(1, 2, 3)`.
fn luminance(colour: &str) -> f64 {
    let numbers = colour.strip_prefix("rgb(").expect(colour);
    let numbers = numbers.strip_suffix(')').expect(colour).split(", ");
    let linear = |number: &str| {
        let share: f64 = number.parse::<f64>().unwrap() / 255.0;
        if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        }
    };
    let weights = [0.2126, 0.7152, 0.0722];
    numbers
        .zip(weights)
        .map(|(it, weight)| linear(it) * weight)
        .sum()
}

fn contrast(ink: &str, paper: &str) -> f64 {
    let (ink, paper) = (luminance(ink) + 0.05, luminance(paper) + 0.05);
    (ink / paper).max(paper / ink)
}

#[test]
fn text_can_be_read_in_light_and_in_dark() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    let papers = ["light", "dark"].map(|scheme| {
        ada.prefers(scheme);
        ada.opens(&stack.url());
        ada.takes_a_picture(&picture(&format!("counter-{scheme}")));
        let colours: Vec<(String, String)> = ada.finds_out(COLOURS);
        assert!(colours.len() > 5, "{colours:?}");
        for (ink, paper) in &colours {
            let contrast = contrast(ink, paper);
            assert!(contrast >= LEAST_CONTRAST, "{scheme}: {ink} on {paper}");
        }
        luminance(&colours[0].1)
    });
    assert!(papers[0] > 0.5 && papers[1] < 0.1, "{papers:?}");
}

#[test]
fn a_narrow_screen_shows_the_longest_name_without_scrolling_sideways() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    ada.holds_a_screen_of(320);
    ada.opens(&format!("{}/dbset/{}", stack.url(), "x".repeat(256)));
    ada.takes_a_picture(&picture("counter-narrow"));
    assert!(ada.reads(By::Tag("code")).contains(&"x".repeat(256)));
    let (needed, there): (f64, f64) =
        ada.finds_out("return [document.documentElement.scrollWidth, innerWidth]");
    assert!(needed <= there, "{needed} of {there}");
}
