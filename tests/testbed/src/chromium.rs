//! Chromium, and the people in front of it.

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use nix::unistd::geteuid;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
pub use thirtyfour::{By, WindowHandle};
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver, WebElement,
    error::WebDriverResult,
};
use tokio::runtime::{self, Runtime};

use crate::{
    eventually::eventually_holds,
    port::ReservedPort,
    process::{Process, Program},
};

/// Chromium finds no server of Google's on a closed network, and looks for many.
const QUIETLY: [&str; 8] = [
    "--headless=new",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
];

/// ChromeDriver, through which people use Chromium.
#[derive(Debug)]
pub struct Chromium {
    _driver: Process,
    port: ReservedPort,
}

/// Somebody in front of a browser that keeps its own cookies.
#[derive(Debug)]
pub struct Person {
    /// `None` once it is closed.
    driver: Option<WebDriver>,
    runtime: Runtime,
    _profile: TempDir,
}

impl Chromium {
    /// `None` if it may be left out: `SKIP_BROWSER=yes`.
    ///
    /// # Panics
    ///
    /// Here and below, when something does not work.
    pub fn start() -> Option<Self> {
        if env::var("SKIP_BROWSER").is_ok_and(|it| it == "yes") {
            // Unlike `eprintln!`, this is not captured.
            writeln!(io::stderr(), "SKIP_BROWSER=yes: left out").ok();
            return None;
        }
        // With a port that it finds itself, it ends if that is taken on IPv6.
        let port = ReservedPort::any().unwrap();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", port.address().port()));
        let program = Program::new("chromedriver", command).ready_when_it_says("successfully on");
        let mut driver = Process::spawn(program).unwrap_or_else(|error| {
            panic!(
                "{error:#}; `make deps-test` installs Chromium (Debian: chromium, \
                 chromium-driver), SKIP_BROWSER=yes leaves these tests out"
            )
        });
        driver.wait_ready().unwrap();
        Some(Self {
            _driver: driver,
            port,
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// With a browser that has not been anywhere yet.
    pub fn person(&self) -> Person {
        let profile = tempfile::Builder::new().prefix("profile-").tempdir();
        let profile = profile.unwrap();
        let capabilities = capabilities(profile.path()).unwrap();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap();
        let driver = runtime.block_on(WebDriver::new(self.url(), capabilities));
        Person {
            driver: Some(driver.unwrap()),
            runtime,
            _profile: profile,
        }
    }
}

fn capabilities(profile: &Path) -> WebDriverResult<ChromeCapabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    for argument in QUIETLY {
        capabilities.add_arg(argument)?;
    }
    // Chromium refuses root a sandbox.
    if geteuid().is_root() {
        capabilities.add_arg("--no-sandbox")?;
    }
    capabilities.add_arg("--window-size=1000,640")?;
    capabilities.add_arg(&format!("--user-data-dir={}", profile.display()))?;
    Ok(capabilities)
}

impl Person {
    fn wait<T>(&self, action: impl AsyncFnOnce(&WebDriver) -> WebDriverResult<T>) -> T {
        let driver = self.driver.as_ref().expect("the browser is open");
        self.runtime.block_on(action(driver)).unwrap()
    }

    /// As when it is typed into the address bar.
    pub fn opens(&self, url: &str) {
        self.wait(async |driver| driver.goto(url).await);
    }

    /// By the browser's own button.
    pub fn refreshes(&self) {
        self.wait(async |driver| driver.refresh().await);
    }

    /// The same.
    pub fn goes_back(&self) {
        self.wait(async |driver| driver.back().await);
    }

    /// Returns when the next page is there.
    pub fn clicks(&self, element: By) {
        let page = self.wait(async |driver| driver.find(By::Tag("html")).await);
        self.wait(async |driver| driver.find(element).await?.click().await);
        eventually_holds("the page is another one", || {
            self.runtime.block_on(page.tag_name()).is_err()
        });
    }

    /// In the place of what is there.
    pub fn types(&self, text: &str, field: By) {
        self.wait(async |driver| {
            let field = driver.find(field).await?;
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// The text that this element shows.
    pub fn reads(&self, element: By) -> String {
        self.wait(async |driver| driver.find(element).await?.text().await)
    }

    /// The texts of all such elements.
    pub fn reads_all(&self, elements: By) -> Vec<String> {
        self.wait(async |driver| {
            let mut texts = Vec::new();
            for element in driver.find_all(elements).await? {
                texts.push(WebElement::text(&element).await?);
            }
            Ok(texts)
        })
    }

    /// Turns to it, too.
    pub fn opens_a_tab(&self) -> WindowHandle {
        self.wait(async |driver| {
            let tab = driver.new_tab().await?;
            driver.switch_to_window(tab.clone()).await?;
            Ok(tab)
        })
    }

    /// The one that is in front.
    pub fn tab(&self) -> WindowHandle {
        self.wait(async |driver| driver.window().await)
    }

    /// Brings this tab to the front.
    pub fn turns_to(&self, tab: &WindowHandle) {
        self.wait(async |driver| driver.switch_to_window(tab.clone()).await);
    }

    /// What a script in the page returns.
    pub fn finds_out<T: DeserializeOwned>(&self, script: &str) -> T {
        self.wait(async |driver| driver.execute(script, Vec::new()).await?.convert())
    }

    /// Light or dark.
    pub fn prefers(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.sets("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// As a telephone of this width is.
    pub fn holds_a_screen_of(&self, width: u32) {
        let screen = json!({
            "width": width, "height": 640, "deviceScaleFactor": 2, "mobile": true
        });
        self.sets("Emulation.setDeviceMetricsOverride", screen);
    }

    /// A setting of the browser, by its name in the DevTools protocol.
    fn sets(&self, method: &str, parameters: Value) {
        self.wait(async |driver| driver.cdp().send_raw(method, parameters).await);
    }

    /// What the page looks like: a PNG.
    pub fn takes_a_picture(&self, path: &Path) {
        self.wait(async |driver| driver.screenshot(path).await);
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            self.runtime.block_on(driver.quit()).ok();
        }
    }
}
