use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::http::{Method, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use crate::special_routes;

/// HTTP for the media of a pack: `GET` and `HEAD` of the files below one folder, and routes that misbehave in known
/// ways (`/broken.jpg`, `/slow`, `/endless`, `/status/{code}`, `/redirect?to=`). For demos and tests.
///
/// Runs on a thread of its own, so it can be started from any runtime or none. Dropping it closes all connections and
/// waits for the thread.
#[derive(Debug)]
pub struct MediaServer {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl MediaServer {
    /// Serves the files below `root` at `bind`; port 0 takes a free one. Blocks until it listens.
    pub fn start(root: impl AsRef<Path>, bind: SocketAddr) -> io::Result<Self> {
        Self::start_with(Served { root: root.as_ref().canonicalize()?, cache_control: None }, bind)
    }

    /// As [`Self::start`], on a free port of loopback.
    pub fn on_loopback(root: impl AsRef<Path>) -> io::Result<Self> {
        Self::start(root, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// As [`Self::start`], each file with this `Cache-Control`.
    pub fn start_cacheable(root: impl AsRef<Path>, bind: SocketAddr, cache_control: &'static str) -> io::Result<Self> {
        let root = root.as_ref().canonicalize()?;
        Self::start_with(Served { root, cache_control: Some(cache_control) }, bind)
    }

    fn start_with(served: Served, bind: SocketAddr) -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("media-server".to_owned()).spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || app(served.clone()))
                    .workers(1)
                    .disable_signals()
                    .shutdown_timeout(0)
                    .bind(bind)?;
                let address = server.addrs().first().copied().unwrap_or(bind);
                let server = server.run();
                // Nobody listens only if `start` has panicked; the handle is gone then and the server stops.
                _ = tell.send((address, server.handle()));
                server.await
            })
        })?;
        match told.recv() {
            Ok((address, handle)) => Ok(Self { address, handle, thread: Some(thread) }),
            // The thread ended before it told: it could not bind.
            Err(_) => match thread.join() {
                Ok(Err(error)) => {
                    Err(io::Error::new(error.kind(), format!("media server cannot listen on {bind}: {error}")))
                }
                _ => Err(io::Error::other("media server died at start")),
            },
        }
    }

    /// Where it listens; the entry that the worker's allow list needs.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address:port`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for MediaServer {
    fn drop(&mut self) {
        // The call itself tells the server; the future only waits for it, and so does the join.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// The address of a file by its path in the pack.
pub fn media_url(base_url: &str, path: &str) -> String {
    let mut url = format!("{}/", base_url.trim_end_matches('/'));
    for byte in path.trim_start_matches('/').bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => url.push(byte.into()),
            other => url += &format!("%{other:02X}"),
        }
    }
    url
}

/// Files, and what may be remembered of them.
#[derive(Debug, Clone)]
struct Served {
    root: PathBuf,
    cache_control: Option<&'static str>,
}

fn app(
    served: Served,
) -> App<
    impl actix_web::dev::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(web::Data::new(served))
        .configure(special_routes::configure)
        .default_service(web::to(serve_file))
}

async fn serve_file(request: HttpRequest, served: web::Data<Served>) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish();
    }
    let Some(path) = file_below(&served.root, request.uri().path()) else {
        return HttpResponse::NotFound().finish();
    };
    let kind = content_type(&path);
    match web::block(move || std::fs::read(path)).await {
        Ok(Ok(content)) => {
            let mut response = HttpResponse::Ok();
            if let Some(cache_control) = served.cache_control {
                response.insert_header((header::CACHE_CONTROL, cache_control));
            }
            response.content_type(kind).body(content)
        }
        Ok(Err(_)) => HttpResponse::NotFound().finish(),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// The regular file that a request path names, if it lies below `root`, which is canonical. Decoded before it is
/// split, so that an encoded slash hides nothing; resolved before it is compared, so that no link leads out.
fn file_below(root: &Path, request_path: &str) -> Option<PathBuf> {
    let decoded = percent_decode(request_path.strip_prefix('/')?)?;
    let harmless = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0', ':']);
    if !decoded.split('/').all(harmless) {
        return None;
    }
    let path = root.join(decoded).canonicalize().ok()?;
    (path.starts_with(root) && path.is_file()).then_some(path)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "mp3" => "audio/mpeg",
        "m4a" | "mp4" => "audio/mp4",
        "aac" => "audio/aac",
        "ogg" | "oga" => "audio/ogg",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_below_the_root_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("root");
        std::fs::create_dir_all(root.join("media")).unwrap();
        std::fs::write(root.join("media/a b.jpg"), "x").unwrap();
        std::fs::write(root.join(".hidden"), "x").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
        assert_eq!(file_below(&root, "/media/a%20b.jpg"), Some(root.join("media/a b.jpg")));
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/media/../../secret",
            "/media/..%2F..%2Fsecret",
            "/media/%252e%252e/secret",
            "/..\\secret",
            "//secret",
            "/link",
            "/.hidden",
            "/media",
            "/media/",
            "/",
            "/media/a%20b.jpg%00",
            "/%zz",
            "/%2",
            "/%ff",
            "",
        ] {
            assert_eq!(file_below(&root, path), None, "{path}");
        }
    }

    #[test]
    fn an_address_leads_back_to_its_path() {
        for path in ["media/image/i-0001.jpg", "media/a b/ü%2f?#.ogg"] {
            let url = media_url("http://127.0.0.1:1/", path);
            let path_of_url = url.strip_prefix("http://127.0.0.1:1/").unwrap();
            assert!(!path_of_url.contains(['?', '#', ' ']));
            assert_eq!(percent_decode(path_of_url).as_deref(), Some(path));
        }
    }
}
