//! The page of `SetHandler wsgi-status` in a real browser, under load: light and dark, as wide as a
//! desk's screen and as narrow as a phone's. With `STATUS_SCREENSHOTS=DIR` what it looks like is put
//! there.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::http::{Connection, head};
use tests::process::wait_for;
use tests::{Mpm, Server, Site, Venv, matrix};

const SOON: Duration = Duration::from_secs(20);

const SCRIPT: &str = r"
import random, time

def report():
    time.sleep(300)

def application(environ, start_response):
    path = environ['PATH_INFO']
    status = '200 OK'
    if path.startswith('/report'):
        report()
    elif path.startswith('/search'):
        time.sleep(random.expovariate(30))
    elif path.startswith('/broken'):
        status = '500 Internal Server Error'
    elif path.startswith('/gone'):
        status = '404 Not Found'
    elif path.startswith('/old'):
        status = '302 Found'
    elif path.startswith('/body'):
        environ['wsgi.input'].read()
    start_response(status, [('Content-Length', '2')])
    return [b'ok']
";

/// Takes the page's picture in four shapes, and looks at what a person would notice.
const LOOK: &str = r"
import base64, os, re, sys, time
from selenium import webdriver
from selenium.webdriver.common.by import By
url, binary, driver = sys.argv[1:4]
LINE, CALL = map(int, sys.argv[4:6])
shots = os.environ.get('STATUS_SCREENSHOTS')
options = webdriver.ChromeOptions()
options.binary_location = binary
for word in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu',
             '--hide-scrollbars'):
    options.add_argument(word)
options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
browser = webdriver.Chrome(options=options,
                           service=webdriver.ChromeService(executable_path=driver))

def luminance(color):
    parts = [int(part) / 255 for part in re.findall(r'\d+', color)[:3]]
    parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

def contrast(a, b):
    a, b = sorted((luminance(a), luminance(b)), reverse=True)
    return (a + 0.05) / (b + 0.05)

# Text that is cut, or wider than the window; and each text's color over what is behind it.
EACH = '''
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || element.closest('style')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!box.width) continue;
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
        behind = behind.parentElement || document.body;
    found.push([node.data.trim(), getComputedStyle(element).color,
                getComputedStyle(behind).backgroundColor, box.left, box.right,
                parseFloat(getComputedStyle(element).fontSize)]);
}
return found;
'''

def look(name, scheme, width, height, scale):
    browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {
        'features': [{'name': 'prefers-color-scheme', 'value': scheme}]})
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
        'width': width, 'height': height, 'deviceScaleFactor': scale, 'mobile': width < 600})
    browser.get(url + '?refresh=0')
    # Where a request is, and who has called that.
    browser.execute_script(
        'for (const one of document.getElementsByTagName(arguments[0])) one.open = true',
        'details')
    wide = browser.execute_script('return document.documentElement.scrollWidth')
    assert wide <= width, (name, wide)
    ground = browser.find_element(By.TAG_NAME, 'body').value_of_css_property('background-color')
    assert (luminance(ground) > 0.5) == (scheme == 'light'), (name, ground)
    texts = browser.execute_script(EACH)
    assert len(texts) > 60, texts
    for text, color, behind, left, right, size in texts:
        assert contrast(color, behind) >= 4.5, (name, text, color, behind)
        assert left >= 0 and right <= width + 0.5, (name, text, left, right)
        assert size >= 11, (name, text, size)
    said = browser.find_element(By.TAG_NAME, 'body').text
    for word in ('shop', 'Embedded', 'Queue', 'Application', 'Running requests', '/report/annual',
                 '<script>alert(1)</script>', 'died', 'app.wsgi:%d' % LINE, 'report',
                 'app.wsgi:%d' % CALL):
        assert word.lower() in said.lower(), (name, word, said)
    assert not browser.find_elements(By.TAG_NAME, 'script')
    if shots:
        size = browser.execute_cdp_cmd('Page.getLayoutMetrics', {})['cssContentSize']
        clip = {'x': 0, 'y': 0, 'width': width, 'height': min(size['height'], 3200), 'scale': 1}
        shot = browser.execute_cdp_cmd('Page.captureScreenshot', {
            'captureBeyondViewport': True, 'clip': clip})
        with open(os.path.join(shots, name + '.png'), 'wb') as file:
            file.write(base64.b64decode(shot['data']))

try:
    browser.set_page_load_timeout(60)
    look('desk-light', 'light', 1180, 900, 1)
    look('desk-dark', 'dark', 1180, 900, 1)
    look('phone-light', 'light', 390, 844, 2)
    look('phone-dark', 'dark', 360, 780, 2)
    # By itself.
    browser.get(url + '?refresh=1')
    first = browser.find_element(By.TAG_NAME, 'header').text
    until = time.monotonic() + 30
    while browser.find_element(By.TAG_NAME, 'header').text == first:
        assert time.monotonic() < until, first
        time.sleep(0.2)
    severe = [entry for entry in browser.get_log('browser') if entry['level'] == 'SEVERE'
              and 'favicon.ico' not in entry['message']]
    assert not severe, severe
finally:
    browser.quit()
";

fn serve() -> Server {
    let site = Site::new(Mpm::Event, &matrix::python())
        .one_child(24)
        .conf("WSGIDaemonProcess shop processes=2 threads=4 socket-timeout=300 shutdown-timeout=1\nWSGIDaemonProcess idle threads=2")
        .conf("SetEnvIf Request_URI ^ test.group=shop\nSetEnvIf Request_URI ^/here test.group=%{GLOBAL}")
        .conf("WSGIProcessGroup %{ENV:test.group}\nWSGIApplicationGroup %{GLOBAL}")
        .conf("Alias /wsgi-status /nowhere")
        .conf("<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>");
    let server = site.mount("/", "app.wsgi", SCRIPT).start();
    // What becomes of long requests in the end is not the matter here.
    for text in ["[wsgi:", "AH", "GET /favicon.ico"] {
        server.log().allow(text);
    }
    server
}

#[test]
fn people_can_read_it() {
    let find = |names: &[&str]| {
        let places = names.iter().map(|name| Path::new("/usr/bin").join(name));
        places.into_iter().find(|path| path.is_file())
    };
    let browser = find(&["chromium", "chromium-browser", "google-chrome"]);
    let (Some(browser), Some(driver)) = (browser, find(&["chromedriver"])) else {
        return matrix::skip(
            "the status page in a browser",
            "there is no chromium with its driver",
        );
    };
    let python = matrix::python();
    let Some(venv) = Venv::with(&python, &["selenium>=4,<5"]) else { return };
    let server = serve();
    assert_eq!(server.get("/here").status, 200);
    assert_eq!(server.get("/").status, 200);
    let worker = wait_for(SOON, || server.workers("shop").first().copied()).unwrap();
    worker.signal(rustix::process::Signal::KILL);
    worker.await_end();
    let _slow: Vec<Connection> =
        ["/report/annual?year=2026", "/report/%3Cscript%3Ealert(1)%3C/script%3E"]
            .map(|path| {
                let mut connection = server.connect();
                connection.send(head("GET", path, &[], 0)).unwrap();
                connection
            })
            .into();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..5)
        .map(|client| {
            let (stop, address) = (Arc::clone(&stop), server.address());
            std::thread::spawn(move || {
                let paths =
                    ["/", "/search", "/old", "/body", "/search?q=1", "/gone", "/broken", "/here"];
                for number in client.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    // Mostly what works.
                    let path =
                        if number % 5 == 0 { paths[number / 5 % 8] } else { paths[number % 2] };
                    let body = if path == "/body" { &[b'x'; 9000][..] } else { b"" };
                    let method = if body.is_empty() { "GET" } else { "POST" };
                    let _ = tests::http::request(address, method, path, &[], body);
                }
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(4));
    let mut command = Command::new(venv.executable());
    let url = format!("http://{}/wsgi-status", server.address());
    command.args(["-c", LOOK, &url]).args([browser, driver]);
    let line_of = |text: &str| 1 + SCRIPT.lines().position(|line| line.trim() == text).unwrap();
    command.args(["time.sleep(300)", "report()"].map(|text| line_of(text).to_string()));
    let output = command.env("HOME", server.site().dir()).output().unwrap();
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.abandon();
}
