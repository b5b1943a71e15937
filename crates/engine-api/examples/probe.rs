//! probe HOME DIST SCRIPT
use engine_api::*;
use std::path::Path;
struct Log;
impl Server for Log {
    fn log(r: &[Record<'_>]) { for r in r { eprintln!("{:?} {} {}", r.level, r.code, String::from_utf8_lossy(r.text.or_empty())); } }
    fn level() -> Level { Level::Info }
}
static HOST: HostTable = host_table::<Log>();
struct Page;
impl Host for Page {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, Fault> { Ok(0) }
    fn respond(&mut self, h: Option<&Head<'_>>, c: &[Bytes<'_>], _: Flags) -> Result<(), Fault> { if let Some(h)=h {println!("{}", h.status);} for c in c { println!("{c:?}"); } Ok(()) }
    fn send_file(&mut self, _: Option<&Head<'_>>, _: i32, _: u64, l: u64, _: Flags) -> Result<u64, Fault> { Ok(l) }
    fn client_gone(&mut self) -> bool { false }
    fn ssl_is_https(&mut self) -> bool { false }
    fn ssl_var_lookup(&mut self, _: &[u8]) -> Option<Vec<u8>> { None }
    fn log(&mut self, r: &[Record<'_>]) { Log::log(r) }
    fn level(&mut self) -> Level { Level::Info }
}
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let a: Vec<String> = std::env::args().collect();
    let p = find(Some(Path::new(&a[1])), Path::new(&a[2]))?;
    println!("{p:?}");
    let e = Engine::open(&p)?;
    println!("{e:?}");
    let exe = p.executable.to_str().unwrap();
    let start = Start { host: &HOST, executable: exe.into(), python_home: p.python_home.as_deref().map(str::as_bytes).into(), process_group: "".into(), python_eggs: Bytes::ABSENT, warnings: Slice::EMPTY, hash_seed: -1, optimize: 0, dont_write_bytecode: false, free_threading: false, single_process: false, serve_on_this_thread: false, interpreters: Slice::EMPTY, module_version: [6,1,1], server_version: [2,4,0], server_description: "".into(), mpm_name: "".into(), server_build_date: "".into(), server_processes: 1, server_threads: 1, maximum_processes: 1, threads_per_process: 1 };
    e.start(&start)?;
    let env = [Pair::new(b"REQUEST_METHOD", b"GET")];
    for g in ["", "sub"] {
    let r = Request { environ: Slice::new(&env), script: a[3].as_str().into(), resource: a[3].as_str().into(), handler_script: Bytes::ABSENT, script_mtime: -1, application_group: g.into(), callable: "application".into(), request_id: Bytes::ABSENT, connection_id: Bytes::ABSENT, request_start: 0, queue_start: 0, daemon_start: 0, content_length: -1, server_pid: 1, daemon_connects: 0, daemon_restarts: 0, request_rec: std::ptr::null_mut(), https: false, multithread: true, multiprocess: true, run_once: false, head: false, reload: true, lower_case: false };
    println!("{:?}", e.handle(&r, &mut Page)?);
    }
    e.stop(&Stop { reason: "".into(), destroy: true, limit_ms: 3000 })?;
    Ok(())
}
