//! The declarations against the C compiler: sizes and offsets of the structures a module shares
//! with the server, and values of macros that were written down by hand.
//!
//! bindgen reads headers with libclang; the server was built by another compiler, perhaps with
//! other flags. This test asks that compiler's kin the same questions.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem::{offset_of, size_of};
use std::process::Command;

use apr_sys::*;

/// Expressions in C and what Rust has for them.
#[derive(Default)]
struct Questions(Vec<(String, u64)>);

macro_rules! structure {
    ($questions:ident, $c:literal, $rust:ty, [$($field:ident),* $(,)?]) => {
        $questions.0.push((format!("sizeof({})", $c), size_of::<$rust>() as u64));
        $($questions.0.push((
            format!("offsetof({}, {})", $c, stringify!($field).trim_end_matches('_')),
            offset_of!($rust, $field) as u64,
        ));)*
    };
}

fn questions() -> Questions {
    let mut q = Questions::default();
    structure!(
        q,
        "request_rec",
        request_rec,
        [
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
            vlist_validator,
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
            trailers_in,
            trailers_out,
        ]
    );
    structure!(
        q,
        "server_rec",
        server_rec,
        [
            process,
            next,
            error_fname,
            error_log,
            log,
            module_config,
            lookup_defaults,
            defn_name,
            defn_line_number,
            is_virtual,
            port,
            server_scheme,
            server_admin,
            server_hostname,
            addrs,
            timeout,
            keep_alive_timeout,
            keep_alive_max,
            keep_alive,
            names,
            wild_names,
            path,
            pathlen,
            limit_req_line,
            limit_req_fieldsize,
            limit_req_fields,
            context,
        ]
    );
    structure!(
        q,
        "conn_rec",
        conn_rec,
        [
            pool,
            base_server,
            vhost_lookup_data,
            local_addr,
            client_addr,
            client_ip,
            remote_host,
            remote_logname,
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
            data_in_output_filters,
            aborted,
            keepalive,
            log,
            log_id,
            current_thread,
            master,
        ]
    );
    structure!(
        q,
        "module",
        module,
        [
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
        ]
    );
    structure!(
        q,
        "command_rec",
        command_rec,
        [name, func, cmd_data, req_override, args_how, errmsg,]
    );
    structure!(
        q,
        "cmd_parms",
        cmd_parms,
        [info, override_, limited, directive, pool, temp_pool, server, path, cmd, context,]
    );
    structure!(q, "core_dir_config", core_dir_config, [cgi_var_rules]);
    structure!(q, "ap_regmatch_t", ap_regmatch_t, [rm_so, rm_eo]);
    structure!(q, "ap_regex_t", ap_regex_t, [re_pcre, re_nsub]);
    structure!(q, "apr_bucket", apr_bucket, [link, type_, length, start, data, free, list]);
    structure!(q, "apr_bucket_brigade", apr_bucket_brigade, [p, list, bucket_alloc]);
    structure!(q, "apr_array_header_t", apr_array_header_t, [pool, elt_size, nelts, nalloc, elts]);
    structure!(q, "apr_table_entry_t", apr_table_entry_t, [key, val, key_checksum]);
    structure!(q, "apr_finfo_t", apr_finfo_t, [filetype, size, mtime, fname]);
    structure!(q, "apr_sockaddr_t", apr_sockaddr_t, [port, family]);
    for (name, value) in [
        ("MODULE_MAGIC_COOKIE", MODULE_MAGIC_COOKIE),
        ("MODULE_MAGIC_NUMBER_MAJOR", MODULE_MAGIC_NUMBER_MAJOR as u64),
        ("TAKE1", TAKE1.into()),
        ("RAW_ARGS", RAW_ARGS.into()),
        ("APLOG_CRIT", APLOG_CRIT as u64),
        ("APLOG_TRACE8", APLOG_TRACE8 as u64),
        ("AP_MODE_READBYTES", AP_MODE_READBYTES.into()),
        ("APR_BLOCK_READ", APR_BLOCK_READ.into()),
        ("HTTP_BAD_GATEWAY", HTTP_BAD_GATEWAY as u64),
    ] {
        q.0.push((name.to_owned(), value));
    }
    q
}

#[test]
fn structures_are_those_of_the_compiler() {
    let questions = questions();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("abi.c");
    let program = dir.path().join("abi");
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/build/wrapper.h");
    let mut text = format!("#include \"{header}\"\n#include <stdio.h>\n#include <stddef.h>\n");
    // Field names that are words of Rust have an underscore there, and only there.
    text.push_str("int main(void) {\n");
    for (expression, _) in &questions.0 {
        writeln!(text, "printf(\"%llu\\n\", (unsigned long long)({expression}));").unwrap();
    }
    text.push_str("return 0;\n}\n");
    std::fs::write(&source, text).unwrap();

    let target = env!("APR_SYS_TARGET");
    let compiler = cc::Build::new()
        .target(target)
        .host(target)
        .opt_level(0)
        .cargo_metadata(false)
        .get_compiler();
    let mut command: Command = compiler.to_command();
    command.args(env!("APR_SYS_CLANG_ARGS").split('\u{1f}')).arg(&source).arg("-o").arg(&program);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let output = Command::new(&program).output().unwrap();
    assert!(output.status.success());
    let answers: Vec<u64> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(answers.len(), questions.0.len());
    let wrong: BTreeMap<_, _> = questions
        .0
        .iter()
        .zip(&answers)
        .filter(|((_, rust), c)| rust != *c)
        .map(|((expression, rust), c)| (expression, (rust, c)))
        .collect();
    assert!(wrong.is_empty(), "expression: (Rust, C) {wrong:#?}");
}

#[test]
fn a_ring_is_what_the_macros_make_it() {
    use std::mem::MaybeUninit;
    use std::ptr;

    let mut brigade = MaybeUninit::<apr_bucket_brigade>::zeroed();
    let mut buckets = [MaybeUninit::<apr_bucket>::zeroed(); 3];
    let brigade: *mut apr_bucket_brigade = brigade.as_mut_ptr();
    let bucket: Vec<*mut apr_bucket> = buckets.iter_mut().map(|b| b.as_mut_ptr()).collect();
    let ring = |brigade: *mut apr_bucket_brigade| {
        // SAFETY: the brigade and the buckets in it are alive below.
        unsafe {
            let mut seen = Vec::new();
            let mut at = apr_brigade_first(brigade);
            while at != apr_brigade_sentinel(brigade) {
                seen.push(at);
                at = apr_bucket_next(at);
            }
            seen
        }
    };
    // SAFETY: zeroed memory is a valid value of both structures; what is inserted is in no ring,
    // what is removed is in this one.
    unsafe {
        let sentinel = apr_brigade_sentinel(brigade);
        (*brigade).list.next = sentinel;
        (*brigade).list.prev = sentinel;
        assert!(apr_brigade_empty(brigade));
        for b in &bucket {
            apr_brigade_insert_tail(brigade, *b);
        }
        assert_eq!(ring(brigade), bucket);
        apr_bucket_remove(brigade, bucket[1]);
        assert_eq!(ring(brigade), [bucket[0], bucket[2]]);
        apr_bucket_remove(brigade, bucket[2]);
        apr_bucket_remove(brigade, bucket[0]);
        assert!(apr_brigade_empty(brigade) && ptr::eq((*brigade).list.prev, sentinel));
    }
}
