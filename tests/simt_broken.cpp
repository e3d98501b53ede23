#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/error.h"
#include "tests/simt_kernels.h"

// Runs one kernel, broken or right, for simt_test: where a sanitizer reports, it ends the process.
// Prints the Error otherwise, and whether the result is right.
namespace {

using fulmar::launch;
using fulmar::test::Bug;

template <Bug bug>
bool box() {
  constexpr int count = 40;
  std::vector<float> x(count, 1.0f), y(count);
  launch({"box3", 2, 32, nullptr, 34 * sizeof(float)}, fulmar::test::box3<bug>, x.data(), y.data(),
         count);
  for (int i = 0; i < count; i++)
    if (y[i] != (i == 0 || i == count - 1 ? 2.0f : 3.0f)) return false;
  return true;
}

template <Bug bug>
bool sums() {
  constexpr int count = 256;
  std::vector<float> x(count, 1.0f), out(2);
  launch({"block_sums", 2, 64}, fulmar::test::block_sums<64, bug>, x.data(), out.data(), count);
  return out[0] == 128 && out[1] == 128;
}

bool neighbour() {
  std::vector<int> memory(64), out(64);
  launch({"neighbour", 1, 64}, fulmar::test::neighbour, memory.data(), out.data());
  return out[0] == 1;
}

bool same_element() {
  int out = 0;
  launch({"same_element", 2, 1}, fulmar::test::same_element, &out);
  return true;
}

bool past_the_end() {
  std::vector<float> x(256), out(1);
  launch({"block_sums", 2, 64}, fulmar::test::block_sums<64>, x.data(), out.data(), 256);
  return true;
}

}  // namespace

int main(int, char** arguments) {
  const struct {
    const char* name;
    bool (*run)();
  } all[] = {
      {"box", box<Bug::none>},        {"halo", box<Bug::halo>},
      {"sums", sums<Bug::none>},      {"no barrier", sums<Bug::no_barrier>},
      {"neighbour", neighbour},       {"same element", same_element},
      {"past the end", past_the_end},
  };
  for (const auto& one : all)
    if (std::strcmp(arguments[1], one.name) == 0) try {
        std::puts(one.run() ? "right" : "wrong");
        return 0;
      } catch (const fulmar::Error& error) {
        std::puts(error.what());
        return 0;
      }
  return 2;
}
