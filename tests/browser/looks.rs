use testbed::{By, Chromium, Person, Server};

use crate::{
    counter::start,
    devices::{Devices, log_in},
    pictures::picture,
};

/// What normal text needs at least: <https://www.w3.org/TR/WCAG22/#contrast-minimum>.
const LEAST_CONTRAST: f64 = 4.5;

/// Of all that has text of its own.
const COLOURS: &str = "
    const has_text = element =>
        [...element.childNodes].some(it => it.nodeType == Node.TEXT_NODE && it.data.trim());
    const colours = element => {
        const ink = getComputedStyle(element).color;
        while (getComputedStyle(element).backgroundColor == 'rgba(0, 0, 0, 0)') {
            element = element.parentElement;
        }
        return [ink, getComputedStyle(element).backgroundColor];
    };
    return [...document.querySelectorAll('body *')].filter(has_text).map(colours)";

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

fn sees_text_in_light_and_in_dark(person: &Person, url: &str, page: &str) {
    let papers = ["light", "dark"].map(|scheme| {
        person.prefers(scheme);
        person.opens(url);
        person.takes_a_picture(&picture(&format!("{page}-{scheme}")));
        let colours: Vec<(String, String)> = person.finds_out(COLOURS);
        assert!(colours.len() > 2, "{page}: {colours:?}");
        for (ink, paper) in &colours {
            let contrast = contrast(ink, paper);
            assert!(
                contrast >= LEAST_CONTRAST,
                "{page}, {scheme}: {ink} on {paper}"
            );
        }
        luminance(&colours[0].1)
    });
    assert!(papers[0] > 0.5 && papers[1] < 0.1, "{page}: {papers:?}");
}

fn does_not_scroll_sideways(person: &Person, url: &str, page: &str) {
    person.holds_a_screen_of(320);
    person.opens(url);
    person.takes_a_picture(&picture(&format!("{page}-narrow")));
    let (needed, there): (f64, f64) =
        person.finds_out("return [document.documentElement.scrollWidth, innerWidth]");
    assert!(needed <= there, "{page}: {needed} of {there}");
}

#[test]
fn text_can_be_read_in_light_and_in_dark() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    sees_text_in_light_and_in_dark(&ada, &stack.url(), "counter");
    let nowhere = format!("{}/nowhere", stack.url());
    sees_text_in_light_and_in_dark(&ada, &nowhere, "counter-404");
}

#[test]
fn a_narrow_screen_shows_the_longest_name_without_scrolling_sideways() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let stack = start();
    let ada = chromium.person();
    let name = "x".repeat(256);
    let url = format!("{}/dbset/{name}", stack.url());
    does_not_scroll_sideways(&ada, &url, "counter");
    assert!(ada.reads(By::Tag("code")).contains(&name));
}

#[test]
fn the_devices_of_a_user_can_be_read_on_any_screen() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let redis = Server::start();
    let site = Devices::start(&redis);
    let (ada, phone) = (chromium.person(), chromium.person());
    sees_text_in_light_and_in_dark(&ada, &site.url(), "login");
    let longest = "x".repeat(60);
    log_in(&phone, &site.url(), &longest, &longest);
    log_in(&ada, &site.url(), &longest, "Laptop at home");
    sees_text_in_light_and_in_dark(&ada, &site.url(), "devices");
    does_not_scroll_sideways(&ada, &site.url(), "devices");
    assert!(ada.reads(By::Tag("ul")).contains(&longest));
}
