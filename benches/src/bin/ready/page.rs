//! The page in a browser: when something is first seen, and what was loaded for it.

use std::error::Error;

use causerie_benches::Server;
use causerie_tests::Browser;
use serde::Serialize;
use serde_json::{Value, json};

/// What the browser measured, load by load.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Page {
    /// Milliseconds from the navigation to the first contentful paint (W3C Paint Timing) of loads with an empty cache.
    pub(crate) first_paint: Vec<f64>,
    /// To the `load` event.
    pub(crate) loaded: Vec<f64>,
    /// The first paint of reloads, of which the browser asks whether its files are still the same.
    pub(crate) first_paint_again: Vec<f64>,
    /// What was transferred for the first load, headers included.
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
}

/// A function body that gives the figures once there are any.
const FIGURES: &str = "
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    const navigation = performance.getEntriesByType('navigation')[0];
    if (!paint || !navigation.loadEventEnd) return null;
    const all = [navigation, ...performance.getEntriesByType('resource')];
    return { paint: paint.startTime, loaded: navigation.loadEventEnd, requests: all.length,
             bytes: all.reduce((sum, entry) => sum + entry.transferSize, 0) };";

/// Loads the page so often; `None`, and a word why, where there is no browser.
pub(crate) fn measure(server: &Server, rounds: usize) -> Result<Option<Page>, Box<dyn Error>> {
    server.wait_until_ready()?;
    let browser = match Browser::start(1280, 800) {
        Ok(browser) => browser,
        Err(missing) => {
            eprintln!("The page is left out: {missing}");
            return Ok(None);
        }
    };
    let mut page = Page::default();
    browser.open(server.link());
    let _ = browser.wait("the page", FIGURES);
    let _ = browser.devtools("Network.enable", &json!({}));
    let address = format!("http://{}/", server.address());
    for _ in 0..rounds {
        for cached in [false, true] {
            let _ = browser.devtools("Network.setCacheDisabled", &json!({ "cacheDisabled": !cached }));
            // Another page between makes it a navigation of its own.
            browser.open("about:blank");
            browser.open(&address);
            let figures = browser.wait("the first paint", FIGURES);
            let paint = number(&figures, "paint")?;
            if cached {
                page.first_paint_again.push(paint);
            } else {
                page.first_paint.push(paint);
                page.loaded.push(number(&figures, "loaded")?);
                page.bytes = number(&figures, "bytes")? as u64;
                page.requests = number(&figures, "requests")? as u64;
            }
        }
    }
    Ok(Some(page))
}

fn number(figures: &Value, name: &str) -> Result<f64, Box<dyn Error>> {
    figures[name].as_f64().ok_or_else(|| format!("the browser gave no {name}: {figures}").into())
}
