//! Memory that is not needed for now.

/// Gives the whole pages within these bytes back to the system; they are zeros when they are next looked at.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code)]
pub(super) fn forget(bytes: &mut [u8]) {
    use rustix::mm::{Advice, madvise};

    let page = rustix::param::page_size();
    let start = bytes.as_ptr().align_offset(page).min(bytes.len());
    let whole = (bytes.len() - start) / page * page;
    let pages = &mut bytes[start..start + whole];
    // SAFETY: the pages are ours alone, by the reference; they are of the allocator's private memory, of which the
    // kernel makes zeros (madvise(2), MADV_DONTNEED), which are bytes as good as any.
    let _ = unsafe { madvise(pages.as_mut_ptr().cast(), pages.len(), Advice::LinuxDontNeed) };
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn forget(_bytes: &mut [u8]) {}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    fn resident_pages() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("resident pages")
    }

    #[test]
    fn pages_go_back_and_what_is_beside_them_stays() {
        const BYTES: usize = 256 << 20;
        let mut bytes = vec![7_u8; BYTES];
        let before = resident_pages();
        forget(&mut bytes[1..BYTES - 1]);
        let page = rustix::param::page_size();
        assert!(resident_pages() + BYTES / page / 2 < before, "other tests do not take as much");
        let zeros = bytes.iter().filter(|&&byte| byte == 0).count();
        assert!(zeros > BYTES - 3 * page && zeros % page == 0, "{zeros}");
        assert_eq!((bytes[0], bytes[BYTES - 1]), (7, 7));
        forget(&mut bytes[3..9]);
        assert_eq!(bytes[0], 7);
    }
}
