//! The C compiler's opinion of the structures that the module shares with httpd.
//!
//! bindgen computes layouts with libclang; this asks the compiler that builds modules, with the
//! flags `apxs` gives it, for the sizes and for every offset we depend on.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::process::Command;
use std::{env, fs};

use apr_sys::{
    apr_bucket, apr_bucket_brigade, command_rec, conn_rec, module, request_rec, server_rec,
};

macro_rules! layout {
    ($table:ident, $type:ident { $($field:ident $(as $c:ident)?),* $(,)? }) => {
        $table.push((concat!("sizeof(", stringify!($type), ")").to_owned(), size_of::<$type>()));
        $(
            #[allow(unused_mut, unused_assignments)]
            let mut name = stringify!($field);
            $(name = stringify!($c);)?
            $table.push((
                format!("offsetof({}, {})", stringify!($type), name),
                offset_of!($type, $field),
            ));
        )*
    };
}

#[test]
fn layouts_equal_the_c_compilers() {
    let mut table = Vec::new();
    layout!(
        table,
        request_rec {
            pool,
            connection,
            server,
            next,
            prev,
            main,
            the_request,
            assbackwards,
            proxyreq,
            header_only,
            proto_num,
            protocol,
            hostname,
            request_time,
            status_line,
            status,
            method_number,
            method,
            allowed,
            sent_bodyct,
            bytes_sent,
            mtime,
            range,
            clength,
            chunked,
            read_body,
            read_chunked,
            expecting_100,
            kept_body,
            body_table,
            remaining,
            read_length,
            headers_in,
            headers_out,
            err_headers_out,
            subprocess_env,
            notes,
            content_type,
            handler,
            content_encoding,
            user,
            ap_auth_type,
            unparsed_uri,
            uri,
            filename,
            canonical_filename,
            path_info,
            args,
            used_path_info,
            eos_sent,
            per_dir_config,
            request_config,
            log,
            log_id,
            htaccess,
            output_filters,
            input_filters,
            proto_output_filters,
            proto_input_filters,
            no_cache,
            no_local_copy,
            invoke_mtx,
            parsed_uri,
            finfo,
            useragent_addr,
            useragent_ip,
        }
    );
    layout!(
        table,
        server_rec {
            process,
            next,
            error_fname,
            error_log,
            log,
            module_config,
            lookup_defaults,
            path,
            pathlen,
            is_virtual,
            timeout,
            keep_alive_timeout,
            keep_alive_max,
            limit_req_line,
            server_admin,
            server_hostname,
            addrs,
            port,
            server_scheme,
            defn_name,
            defn_line_number,
        }
    );
    layout!(
        table,
        conn_rec {
            pool,
            base_server,
            vhost_lookup_data,
            local_addr,
            client_addr,
            client_ip,
            remote_host,
            local_ip,
            local_host,
            id,
            conn_config,
            notes,
            input_filters,
            output_filters,
            sbh,
            bucket_alloc,
            cs,
            data_in_input_filters,
            keepalives,
            log,
            log_id,
            current_thread,
            master,
            aborted,
            keepalive,
        }
    );
    layout!(
        table,
        module {
            version,
            minor_version,
            module_index,
            name,
            dynamic_load_handle,
            next,
            magic,
            rewrite_args,
            create_dir_config,
            merge_dir_config,
            create_server_config,
            merge_server_config,
            cmds,
            register_hooks,
        }
    );
    layout!(table, command_rec { name, func, cmd_data, req_override, args_how, errmsg });
    layout!(table, apr_bucket { link, type_ as type, length, start, data, free, list });
    layout!(table, apr_bucket_brigade { p, list, bucket_alloc });

    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("abi.c");
    let program = directory.path().join("abi");
    let mut text = "#include <stddef.h>\n#include <stdio.h>\n".to_owned();
    text.push_str(&fs::read_to_string("build/wrapper.h").unwrap());
    text.push_str("int main(void) {\n");
    for (expression, _) in &table {
        writeln!(text, "printf(\"%zu\\n\", (size_t) {expression});").unwrap();
    }
    text.push_str("return 0; }\n");
    fs::write(&source, text).unwrap();

    let apxs = env::var("APXS").unwrap_or_else(|_| "apxs".to_owned());
    let query = |name: &str| run(Command::new(&apxs).args(["-q", name]));
    let mut compiler = Command::new(env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
    compiler.arg(&source).arg("-o").arg(&program).arg("-Ibuild");
    compiler.arg(format!("-I{}", query("INCLUDEDIR").trim()));
    for name in ["EXTRA_CPPFLAGS", "EXTRA_INCLUDES"] {
        compiler.args(query(name).split_whitespace());
    }
    compiler
        .args(run(Command::new(query("APR_CONFIG").trim()).arg("--includes")).split_whitespace());
    run(&mut compiler);

    let answers = run(&mut Command::new(&program));
    let answers: Vec<usize> = answers.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(answers.len(), table.len());
    let wrong: Vec<_> = table.iter().zip(&answers).filter(|((_, ours), c)| ours != *c).collect();
    assert!(wrong.is_empty(), "(expression, ours), C compiler's: {wrong:?}");
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
