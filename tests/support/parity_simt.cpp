#include "kernels/cuda/emulated.h"
#include "tests/support/parity.h"
#include "tests/support/simt_orders.h"
#include "tests/support/slow_build.h"

namespace fulmar::test {

// The CUDA kernels on the emulator, in every order, or two where that takes long.
void for_each_compared(const OnDevice& body) {
  const simt::StreamOwner owner;
  bool same_bits = false;
  in_every_order(
      [&] {
        body(simt_backend(), owner.stream(), same_bits);
        same_bits = true;
      },
      slow_build ? 2 : 4);
}

}  // namespace fulmar::test
