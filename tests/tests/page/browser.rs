//! A real browser, driven by its own driver: Debian's `chromium` and `chromium-driver`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::cdp::Cdp;
use thirtyfour::error::{WebDriverError, WebDriverResult};
use thirtyfour::prelude::*;
use thirtyfour::session::http::{Body, HttpClient};

const PATIENCE: Duration = Duration::from_secs(30);

/// Before anything of a page runs: keeps what the browser refuses, and what goes wrong in scripts.
const WATCH: &str = "window.refused = [];
    document.addEventListener('securitypolicyviolation', (e) => refused.push(`${e.violatedDirective} ${e.blockedURI}`));
    window.addEventListener('error', (e) => refused.push(`error ${e.message}`));
    window.addEventListener('unhandledrejection', (e) => refused.push(`rejection ${e.reason}`));";

/// A window of a browser of its own, with a profile of its own. Both processes end with it.
pub struct Browser {
    pub driver: WebDriver,
    devtools: Cdp,
    process: DriverProcess,
    url: String,
}

struct DriverProcess {
    child: Child,
    /// Kept open: a driver that writes into a closed pipe is ended by it.
    _output: BufReader<ChildStdout>,
    profile: TempDir,
}

impl Drop for DriverProcess {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The client that the workspace has, for a library that would bring a second one.
struct Client(reqwest::Client);

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send(&self, request: Request<Body<'_>>) -> WebDriverResult<Response<Bytes>> {
        let failed = |error: reqwest::Error| WebDriverError::HttpError(error.to_string());
        let (parts, body) = request.into_parts();
        let mut ask = self.0.request(parts.method, parts.uri.to_string()).headers(parts.headers);
        if let Body::Json(value) = body {
            ask = ask.json(value);
        }
        let answer = ask.send().await.map_err(failed)?;
        let response = Response::builder().status(answer.status());
        let body = answer.bytes().await.map_err(failed)?;
        response.body(body).map_err(|error| WebDriverError::HttpError(error.to_string()))
    }

    async fn new(&self) -> Arc<dyn HttpClient> {
        Arc::new(Self(self.0.clone()))
    }
}

fn start_driver() -> Result<(DriverProcess, String)> {
    let profile = tempfile::tempdir()?;
    let mut child = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("chromedriver does not start")?;
    let mut output = BufReader::new(child.stdout.take().context("its output")?);
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if let Some(port) = line.trim_end().trim_end_matches('.').split("successfully on port ").nth(1) {
            let address = format!("http://127.0.0.1:{port}");
            return Ok((DriverProcess { child, _output: output, profile }, address));
        }
        line.clear();
    }
    bail!("chromedriver ended before it was ready")
}

impl Browser {
    /// A window on the pages of `url`.
    pub async fn open(url: &str) -> Result<Self> {
        let (process, address) = start_driver()?;
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--force-color-profile=srgb",
        ] {
            capabilities.add_arg(argument)?;
        }
        capabilities.add_arg(&format!("--user-data-dir={}", process.profile.path().display()))?;
        let client = Client(reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?);
        let driver = WebDriver::builder(address, capabilities).client(client).await?;
        driver.set_script_timeout(PATIENCE).await?;
        let devtools = driver.cdp();
        let watch = json!({ "source": WATCH });
        devtools.send_raw("Page.addScriptToEvaluateOnNewDocument", watch).await?;
        let browser = Self { driver, devtools, process, url: url.to_owned() };
        browser.look(1_440, 900, "light").await?;
        Ok(browser)
    }

    /// Size in CSS pixels, and the theme that the system asks for.
    pub async fn look(&self, width: u32, height: u32, theme: &str) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools.send_raw("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.devtools.send_raw("Emulation.setEmulatedMedia", scheme).await?;
        Ok(())
    }

    /// Leaves the page, which must have been clean, for another.
    pub async fn go(&self, path: &str) -> Result<()> {
        let refused = self.run("return window.refused ?? [];").await?;
        ensure!(refused == json!([]), "before {path}: {refused}");
        Ok(self.driver.goto(format!("{}{path}", self.url)).await?)
    }

    /// Runs the body of a function in the page.
    pub async fn run(&self, script: &str) -> Result<Value> {
        Ok(self.driver.execute(script, Vec::new()).await?.json().clone())
    }

    /// Runs the body of an asynchronous function in the page, and waits for what it returns.
    pub async fn run_async(&self, script: &str) -> Result<Value> {
        let whole = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {script} }})().then(done, (error) => done({{ thrown: String(error) }}));"
        );
        Ok(self.driver.execute_async(whole, Vec::new()).await?.json().clone())
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&self, what: &str, expression: &str) -> Result<()> {
        let started = Instant::now();
        while self.run(&format!("return Boolean({expression});")).await? != true {
            if started.elapsed() > PATIENCE {
                let page = self.run("return document.body.innerText.slice(0, 2000);").await?;
                bail!("{what}: not after {PATIENCE:?}; refused: {}; the page says: {page}", self.refused().await?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub async fn click(&self, selector: &str) -> Result<()> {
        Ok(self.driver.find(By::Css(selector)).await?.click().await?)
    }

    /// Keys to one element; to a chooser of files, the path of one.
    pub async fn type_into(&self, selector: &str, keys: &str) -> Result<()> {
        Ok(self.driver.find(By::Css(selector)).await?.send_keys(keys).await?)
    }

    /// Keys to whatever has the focus.
    pub async fn press(&self, keys: &str) -> Result<()> {
        Ok(self.driver.action_chain().send_keys(keys).perform().await?)
    }

    pub async fn picture(&self) -> Result<Vec<u8>> {
        Ok(self.driver.screenshot_as_png().await?)
    }

    async fn refused(&self) -> Result<Value> {
        self.run("return window.refused ?? ['not watched'];").await
    }

    /// Nothing was refused by the content policy since the last load, and no script went wrong.
    pub async fn is_clean(&self) -> Result<()> {
        let refused = self.refused().await?;
        ensure!(refused == json!([]), "{refused}");
        Ok(())
    }

    pub async fn close(self) -> Result<()> {
        let Self { driver, process, .. } = self;
        driver.quit().await?;
        drop(process);
        Ok(())
    }
}
