#include "kernels/cuda/choices.h"

#include <doctest/doctest.h>

#include "tests/support/error_of.h"

namespace fulmar::test {
namespace {

using cuda::Choices;

std::string sample() {
  Choices choices;
  choices.set("conv2d fp32 x[2,4,4,3] on a GPU", "cudnn engine 70 knobs 2:4,18:0 | 0.0123 ms");
  choices.set("conv2d bf16 x[2,4,4,3] on a GPU", "plain | cudnn: no engine");
  return choices.text();
}

std::string refusal(const std::string& text) {
  return error_of(ErrorKind::file, [&] { Choices::parse(text); });
}

}  // namespace

TEST_CASE("cuda choices: text comes back as it went, in the order of its keys") {
  const Choices choices = Choices::parse(sample());
  CHECK(choices.text() == sample());
  CHECK(choices.all().size() == 2);
  CHECK(choices.find("conv2d bf16 x[2,4,4,3] on a GPU") == "plain | cudnn: no engine");
  CHECK(choices.find("conv2d bf16") == "");
  CHECK(Choices::parse(Choices().text()).all().empty());
}

TEST_CASE("cuda choices: any byte that is changed, added or lost is noticed") {
  const std::string good = sample();
  for (size_t at = 0; at < good.size(); at++) {
    CAPTURE(at);
    std::string changed = good;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    CHECK(has(refusal(changed), "cuda choices: "));
    CHECK(has(refusal(good.substr(0, at)), "cuda choices: "));
    CHECK(has(refusal(good.substr(0, at) + " " + good.substr(at)), "cuda choices: "));
  }
  CHECK(has(refusal(good + "\n"), "cuda choices: line 4"));
  CHECK(refusal("") == "cuda choices: line 1 should begin with \"fulmar cuda choices 1: \"");
  CHECK(has(refusal("fulmar cuda choices 1: 1, checksum 0\nno arrow\n"), "line 2 should be"));
  CHECK(has(refusal("fulmar cuda choices 1: 2, checksum 0\na => b\na => c\n"),
            "line 3 repeats an earlier one"));
}

TEST_CASE("cuda choices: what makes no line is refused") {
  Choices choices;
  const std::pair<const char*, const char*> bad[] = {
      {"", "b"}, {"a", ""}, {"a\nb", "c"}, {"a", "b\nc"}, {"a => b", "c"}};
  for (const auto& pair : bad)
    CHECK(has(error_of(ErrorKind::usage, [&] { choices.set(pair.first, pair.second); }),
              "no line can be made"));
  CHECK(choices.all().empty());
}

}  // namespace fulmar::test
