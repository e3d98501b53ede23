#include "tests/support/instruction_sets.h"
#include "tests/support/parity.h"

namespace fulmar::test {

// Every instruction set, 1 and 2 threads.
void for_each_compared(const OnDevice& body) {
  for_each_instruction_set([&] {
    for (const int threads : {1, 2}) {
      CAPTURE(threads);
      ThreadPool pool(threads);
      body(cpu_backend(), {&pool, nullptr}, threads > 1);
    }
  });
}

}  // namespace fulmar::test
