//! What the standard library would have an unwinder do, in a build that has no tables for one (`make dist`): nothing.
//! A panic says where it was and aborts, and none of this is called; but it is linked, and so an unwinder would be.

use std::process::abort;

/// Each takes what it likes.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            #[allow(non_snake_case, unsafe_code, reason = "a name of the ABI")]
            extern "C" fn $name() -> ! {
                abort()
            }
        )*
    };
}

never_called! {
    _Unwind_Backtrace _Unwind_DeleteException _Unwind_FindEnclosingFunction _Unwind_GetCFA _Unwind_GetDataRelBase
    _Unwind_GetIP _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase
    _Unwind_RaiseException _Unwind_Resume _Unwind_SetGR _Unwind_SetIP
}
