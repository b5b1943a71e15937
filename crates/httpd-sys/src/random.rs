//! Random bytes, as APR has them from the system.
//! <https://apr.apache.org/docs/apr/1.7/group__apr__random.html>

use apr_sys as raw;

/// Fills a buffer; `false` if the system has nothing to fill it with.
pub fn random(buffer: &mut [u8]) -> bool {
    // SAFETY: writes as many bytes as there are.
    let status = unsafe { raw::apr_generate_random_bytes(buffer.as_mut_ptr(), buffer.len()) };
    status == raw::APR_SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_differ() {
        let (mut one, mut other) = ([0; 16], [0; 16]);
        assert!(random(&mut one) && random(&mut other));
        assert_ne!(one, other);
    }
}
