#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/cuda/dense_operands.h"
#include "kernels/cuda/emulated.h"
#include "tests/support/simt_orders.h"

// What stands between our operands and the vendor's: exact, so compared for equality.
namespace fulmar::test {
namespace {

using namespace cuda;

const simt::StreamOwner& owner() {
  static const simt::StreamOwner shared;
  return shared;
}

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = std::sin(static_cast<float>(i + 1)) * 3;
  return values;
}

}  // namespace

TEST_CASE("simt dense operands: filters go to [filters,taps,channels] and back") {
  const int64_t sizes[][3] = {{9, 3, 8}, {1, 5, 7}, {6, 17, 33}, {1, 1, 1}};
  for (const auto& size : sizes) {
    const int64_t taps = size[0], channels = size[1], filters = size[2];
    const size_t count = static_cast<size_t>(taps * channels * filters);
    const std::vector<float> ours = numbers(count);
    in_every_order([&] {
      Stream stream = owner().stream();
      std::vector<float> theirs(count, NAN), back(count, NAN);
      std::vector<bf16> rounded(count);
      filters_to_vendor(stream, ours.data(), theirs.data(), DType::f32, taps, channels, filters);
      filters_to_vendor(stream, ours.data(), rounded.data(), DType::bf16, taps, channels, filters);
      bool equal = true;
      for (int64_t f = 0; f < filters; f++)
        for (int64_t t = 0; t < taps; t++)
          for (int64_t c = 0; c < channels; c++) {
            const size_t there = static_cast<size_t>((f * taps + t) * channels + c);
            const float here = ours[static_cast<size_t>((t * channels + c) * filters + f)];
            equal = equal && theirs[there] == here && rounded[there].bits == to_bf16(here).bits;
          }
      CHECK(equal);
      filters_from_vendor(stream, theirs.data(), DType::f32, back.data(), taps, channels, filters);
      CHECK(back == ours);
      filters_from_vendor(stream, rounded.data(), DType::bf16, back.data(), taps, channels,
                          filters);
      for (size_t i = 0; i < count; i++) equal = equal && back[i] == to_float(to_bf16(ours[i]));
      CHECK(equal);
    });
  }
}

TEST_CASE("simt dense operands: rounding to bf16") {
  std::vector<float> from = numbers(1001);
  from[3] = NAN;
  from[4] = INFINITY;
  from[5] = 3.4e38f;
  std::vector<bf16> to(from.size());
  Stream stream = owner().stream();
  round_to_bf16(stream, from.data(), to.data(), static_cast<int64_t>(from.size()));
  for (size_t i = 0; i < from.size(); i++) CHECK(to[i].bits == to_bf16(from[i]).bits);
}

TEST_CASE("simt dense operands: a bias is added to every pixel") {
  for (const Shape& shape : {Shape{2, 3, 5, 8}, Shape{2, 3, 5, 7}, Shape{1, 1, 1, 2}}) {
    const size_t channels = static_cast<size_t>(shape.channels());
    const size_t count = static_cast<size_t>(shape.elements());
    const std::vector<float> bias = numbers(channels), before = numbers(count);
    Stream stream = owner().stream();
    std::vector<float> y = before;
    std::vector<bf16> rounded(count);
    for (size_t i = 0; i < count; i++) rounded[i] = to_bf16(before[i]);
    add_bias(stream, bias.data(), y.data(), DType::f32, shape);
    add_bias(stream, bias.data(), rounded.data(), DType::bf16, shape);
    for (size_t i = 0; i < count; i++) {
      CHECK(y[i] == before[i] + bias[i % channels]);
      CHECK(rounded[i].bits == to_bf16(to_float(to_bf16(before[i])) + bias[i % channels]).bits);
    }
  }
}

TEST_CASE("simt dense operands: noise lies in (-1, 1), differs, and is the same every time") {
  Stream stream = owner().stream();
  std::vector<float> noise(4099, NAN), again(4099, NAN);
  fill_with_noise(stream, noise.data(), DType::f32, 4099);
  fill_with_noise(stream, again.data(), DType::f32, 4099);
  CHECK(noise == again);
  double sum = 0, squares = 0;
  for (const float value : noise) {
    CHECK(std::abs(value) <= 1);
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  CHECK(std::abs(sum / 4099) < 0.05);                // of a uniform one: 0
  CHECK(std::abs(squares / 4099 - 1.0 / 3) < 0.05);  // and 1/3
  std::vector<bf16> rounded(4099);
  fill_with_noise(stream, rounded.data(), DType::bf16, 4099);
  for (size_t i = 0; i < noise.size(); i++) CHECK(rounded[i].bits == to_bf16(noise[i]).bits);
}

}  // namespace fulmar::test
