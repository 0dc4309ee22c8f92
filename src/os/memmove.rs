//! Copying, where musl's own is slow: on x86_64 it is one `rep movsq`, which takes twice as long as moves through the
//! vector registers unless both sides are aligned alike. rustls copies each record twice on its way.
//!
//! Up to 64 bytes are read before any is written. More go in steps of 64, away from the overlap, if there is one; what
//! does not fill a step is read before anything was written and written last. So nothing is left to be copied byte by
//! byte.

use std::arch::naked_asm;

/// `memcpy` of C, which may assume more than it does here.
///
/// # Safety
/// As [`memmove`].
#[cfg(target_env = "musl")]
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!("jmp {}", sym memmove)
}

/// `memmove` of C (System V calling convention: rdi, rsi, rdx; rax is `to` again).
///
/// # Safety
/// Both are valid for so many bytes; they may overlap.
#[allow(unsafe_code)]
#[cfg_attr(target_env = "musl", unsafe(no_mangle))]
#[unsafe(naked)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16; jb 40f",
        "cmp rdx, 32; ja 10f",
        // 16 to 32: the first and the last 16, which may be partly the same.
        "movups xmm0, [rsi]; movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0; movups [rdi + rdx - 16], xmm1",
        "ret",
        "10: cmp rdx, 64; ja 20f",
        // 33 to 64: the first and the last 32.
        "movups xmm0, [rsi]; movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]; movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0; movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2; movups [rdi + rdx - 16], xmm3",
        "ret",
        "20: mov rcx, rdi; sub rcx, rsi; cmp rcx, rdx; jb 30f",
        // More, upwards: `to` lies below `from`, or beyond its end.
        "movups xmm4, [rsi + rdx - 64]; movups xmm5, [rsi + rdx - 48]",
        "movups xmm6, [rsi + rdx - 32]; movups xmm7, [rsi + rdx - 16]",
        "lea rcx, [rdi + rdx - 64]",
        // Aligned where they are written, the first 16 being written last: a quarter faster.
        "movups xmm8, [rsi]",
        "neg rdi; and rdi, 15; add rsi, rdi; add rdi, rax",
        "jmp 22f",
        "21: movups xmm0, [rsi]; movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]; movups xmm3, [rsi + 48]",
        "movaps [rdi], xmm0; movaps [rdi + 16], xmm1",
        "movaps [rdi + 32], xmm2; movaps [rdi + 48], xmm3",
        "add rsi, 64; add rdi, 64",
        "22: cmp rdi, rcx; jb 21b",
        "movups [rax], xmm8",
        "movups [rcx], xmm4; movups [rcx + 16], xmm5",
        "movups [rcx + 32], xmm6; movups [rcx + 48], xmm7",
        "ret",
        // More, downwards: `to` lies within `from`.
        "30: movups xmm4, [rsi]; movups xmm5, [rsi + 16]",
        "movups xmm6, [rsi + 32]; movups xmm7, [rsi + 48]",
        "31: movups xmm0, [rsi + rdx - 64]; movups xmm1, [rsi + rdx - 48]",
        "movups xmm2, [rsi + rdx - 32]; movups xmm3, [rsi + rdx - 16]",
        "movups [rdi + rdx - 64], xmm0; movups [rdi + rdx - 48], xmm1",
        "movups [rdi + rdx - 32], xmm2; movups [rdi + rdx - 16], xmm3",
        "sub rdx, 64; cmp rdx, 64; ja 31b",
        "movups [rdi], xmm4; movups [rdi + 16], xmm5",
        "movups [rdi + 32], xmm6; movups [rdi + 48], xmm7",
        "ret",
        // Fewer than 16: the first and the last 8, 4 or 2 of them, or one.
        "40: cmp edx, 8; jb 41f",
        "mov rcx, [rsi]; mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx; mov [rdi + rdx - 8], r8",
        "ret",
        "41: cmp edx, 4; jb 42f",
        "mov ecx, [rsi]; mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx; mov [rdi + rdx - 4], r8d",
        "ret",
        "42: cmp edx, 2; jb 43f",
        "movzx ecx, word ptr [rsi]; movzx r8d, word ptr [rsi + rdx - 2]",
        "mov [rdi], cx; mov [rdi + rdx - 2], r8w",
        "ret",
        "43: test edx, edx; jz 44f",
        "movzx ecx, byte ptr [rsi]; mov [rdi], cl",
        "44: ret",
    )
}

#[cfg(test)]
mod tests {
    /// Copies within an area, and says what the area is afterwards.
    fn moved(to: usize, from: usize, bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let mut area: Vec<u8> = (0..700_u32).map(|n| (n * 31 % 251) as u8).collect();
        let mut expected = area.clone();
        expected.copy_within(from..from + bytes, to);
        assert!(to.max(from) + bytes <= area.len());
        // SAFETY: both lie within the area.
        #[allow(unsafe_code)]
        let returned = unsafe {
            let base = area.as_mut_ptr();
            super::memmove(base.add(to), base.add(from), bytes).offset_from(base)
        };
        assert_eq!(returned, to as isize);
        (area, expected)
    }

    #[test]
    fn every_length_and_overlap_is_copied_exactly() {
        for bytes in 0..=300 {
            for from in [180, 181, 187, 195] {
                for to in (0..370).step_by(if bytes < 70 { 1 } else { 3 }) {
                    let (area, expected) = moved(to, from, bytes);
                    assert_eq!(area, expected, "{bytes} bytes from {from} to {to}");
                }
            }
        }
    }
}
