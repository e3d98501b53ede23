#include "kernels/error.h"
#include "tests/support/parity.h"

// The warp of sources into tensors, on the CPU against the reference device.

namespace fulmar::test {
namespace {

const double nan = NAN;

Affine rotation(double angle, double zoom, double shift) {
  const double c = zoom * std::cos(angle), s = zoom * std::sin(angle);
  return {{c, -s, shift, s, c, -shift / 3}};
}

WarpOptions options_for(int64_t bands) {
  WarpOptions options;
  for (int64_t b = 0; b < bands; b++) {
    options.scale[b] = 0.25f + 0.5f * static_cast<float>(b);
    options.offset[b] = 1.0f - static_cast<float>(b);
    options.fill[b] = 3.0f * static_cast<float>(b);
  }
  return options;
}

// Four images: one turned, with two frames and noise; one shifted, smaller than its slot; one
// shifted by whole pixels, to where the source ends on no side and on all; one zoomed to where the
// last taps are the slot's last pixels.
std::vector<WarpSample> some_samples() {
  std::vector<WarpSample> samples(4);
  samples[0].map = rotation(0.7, 0.8, 5);
  samples[0].frames = 2;
  samples[0].to_frame = {rotation(0.3, 1.1, 2), rotation(-2, 0.9, 9)};
  samples[0].frame_height = {20, 18};
  samples[0].frame_width = {150, 140};
  samples[0].source_height = 21;
  samples[0].source_width = 170;
  samples[0].gain = 1.5;
  samples[1].map = {{1, 0, -2.25, 0, 1, 3.5}};
  samples[1].source_height = 15;
  samples[1].source_width = 90;
  samples[2].map = {{1, 0, -7, 0, 1, 4}};
  samples[2].source_height = 20;
  samples[2].source_width = 147;
  samples[2].gain = 0.5;
  samples[2].frames = 1;
  samples[2].to_frame[0] = {{1, 0, -2, 0, 1, -1}};
  samples[2].frame_height[0] = 17;
  samples[2].frame_width[0] = 120;
  samples[3].map = {{168.5 / 160, 0, 0, 0, 19.25 / 18, 0}};
  samples[3].source_height = 21;
  samples[3].source_width = 170;
  return samples;
}

}  // namespace

TEST_CASE("cpu: warp of every source type, band count, border and interpolation") {
  const std::vector<WarpSample> samples = some_samples();
  for (const DType type : {DType::u8, DType::u16, DType::f32, DType::f64})
    for (const int64_t bands : {1, 2, 3, 4, 5})
      for (const Border border : {Border::fill, Border::clamp})
        for (const Interpolation how : {Interpolation::nearest, Interpolation::bilinear}) {
          CAPTURE(name_of(type));
          CAPTURE(bands);
          const Shape slots{4, 21, 170, bands};
          const bool real = type == DType::f32 || type == DType::f64;
          std::vector<double> values = random_reals(slots, 9, real ? -9 : 0, 255).values;
          for (double& v : values) v = std::floor(v);
          if (real) {
            values[100] = nan;
            values[4000] = -INFINITY;
            for (size_t i = 0; i < 8; i++)
              values[values.size() / 2 + 1000 * i] = i % 2 ? nan : INFINITY;
          }
          Parity p;
          const int source = p.raw(slots, type, values), y = p.out({4, 19, 161, bands});
          WarpOptions options = options_for(bands);
          options.interpolation = how;
          options.border = border;
          options.has_nodata = true;
          options.nodata = 7;
          p.check([&](const Backend& d) {
            d.warp(p.stream(), p[source], samples.data(), p[y], options);
          });
        }
}

TEST_CASE("cpu: warp with speckle and standardisation") {
  std::vector<WarpSample> samples = some_samples();
  samples[0].speckle = 0.7;
  samples[0].seed = 77777777777777u;
  samples[1].speckle = 0.1;
  samples[2].speckle = 0.2;
  samples[1].seed = 5;
  for (const bool standardize : {false, true}) {
    Parity p;
    const int source =
        p.raw({4, 21, 170, 3}, DType::u8, random_reals({4, 21, 170, 3}, 9, 0, 255).values);
    const int y = p.out({4, 19, 161, 3});
    WarpOptions options = options_for(3);
    options.standardize = standardize;
    p.check([&](const Backend& d) { d.warp(p.stream(), p[source], samples.data(), p[y], options); },
            3e-6);
  }
}

TEST_CASE("cpu: warp from strided bands") {
  Parity p;
  const int whole =
      p.raw({4, 42, 340, 4}, DType::u16, random_reals({4, 42, 340, 4}, 2, 0, 65535).values);
  const int y = p.out({4, 19, 161, 2});
  const std::vector<WarpSample> samples = some_samples();
  const WarpOptions options = options_for(2);
  p.check([&](const Backend& d) {
    View view = p[whole];  // every second pixel, bands 1 and 2
    view.shape = {4, 21, 170, 2};
    view.data = view.as<uint16_t>() + 1;
    view.stride[1] *= 2;
    view.stride[2] *= 2;
    d.warp(p.stream(), view, samples.data(), p[y], options);
  });
}

// A fill that is no number spreads to the last pixels by weights of 0, by whole shifts too.
TEST_CASE("cpu: warp with a fill that is no number") {
  Parity p;
  const int source =
      p.raw({4, 21, 170, 2}, DType::u16, random_reals({4, 21, 170, 2}, 2, 0, 65535).values);
  const int y = p.out({4, 19, 161, 2});
  const std::vector<WarpSample> samples = some_samples();
  WarpOptions options = options_for(2);
  options.fill[1] = static_cast<float>(nan);
  p.check([&](const Backend& d) { d.warp(p.stream(), p[source], samples.data(), p[y], options); });
}

TEST_CASE("cpu: warp of nothing, of one pixel, and through maps that are no numbers") {
  for (const Border border : {Border::fill, Border::clamp}) {
    Parity p;
    std::vector<WarpSample> samples(5);
    for (WarpSample& sample : samples) sample.source_height = sample.source_width = 1;
    samples[0].source_width = 0;
    samples[2].map.a[0] = nan;
    samples[3].map.a[5] = 1e300;
    samples[4].frames = 1;
    samples[4].to_frame[0].a[1] = nan;
    samples[4].frame_height[0] = samples[4].frame_width[0] = 9;
    const int source = p.raw({5, 1, 1, 1}, DType::f32, {1, 2, 3, 4, 5}), y = p.out({5, 3, 2, 1});
    WarpOptions options = options_for(1);
    options.fill[0] = -5;
    options.border = border;
    p.check(
        [&](const Backend& d) { d.warp(p.stream(), p[source], samples.data(), p[y], options); });
  }
}

TEST_CASE("cpu: warp_labels takes the pixels that warp takes by the nearest") {
  std::vector<WarpSample> samples = some_samples();
  samples.resize(9);
  samples[8] = samples[2];
  for (size_t i = 2; i < 8; i++) samples[i] = {};
  for (size_t i = 2; i < 8; i++) samples[i].source_height = 21, samples[i].source_width = 170;
  samples[2].map.a = {1, 0, 0.5, 0, 1, -3.5};    // each position is halfway between pixels
  samples[3].map.a = {-0.5, 0, 80, 0, 0.25, 1};  // and each second, and each fourth
  samples[4].map = rotation(2.5, 3, 40);
  samples[5].map.a[1] = nan;
  samples[6].map.a[2] = 1e300;
  samples[7].source_width = 0;
  // No picture is altered here: what alters pictures alters no label.
  std::vector<WarpSample> plain = samples;
  for (WarpSample& sample : plain) sample.gain = 1;
  samples[1].speckle = 0.5, samples[1].seed = 3;
  const Shape slots{9, 21, 170, 1}, out{9, 19, 161, 1};
  std::vector<double> values = random_reals(slots, 4, 0, 200).values;
  for (double& v : values) v = std::floor(v);
  Parity p;
  const int source = p.raw(slots, DType::u8, values);
  const int y = p.out(out), labels = p.raw(out, DType::u8);
  WarpOptions options;
  options.interpolation = Interpolation::nearest;
  options.border = Border::fill;
  options.scale[0] = 1;
  options.fill[0] = 255;
  p.check([&](const Backend& d) {
    d.warp(p.stream(), p[source], plain.data(), p[y], options);
    d.warp_labels(p.stream(), p[source], samples.data(), p[labels], 255);
    int64_t different = 0, outside = 0;
    for (int64_t i = 0; i < out.elements(); i++) {
      const uint8_t label = p[labels].as<uint8_t>()[i];
      const double pixel =
          p[y].type == DType::f64 ? p[y].as<double>()[i] : static_cast<double>(p[y].as<float>()[i]);
      different += static_cast<double>(label) != pixel;
      outside += label == 255;
    }
    CHECK(different == 0);
    CHECK(outside > out.elements() / 4);
    CHECK(outside < out.elements() * 3 / 4);
  });
}

TEST_CASE("cpu: warp_labels from every second pixel of a band") {
  Parity p;
  const int whole =
      p.raw({4, 42, 340, 3}, DType::u8, random_reals({4, 42, 340, 3}, 2, 0, 255).values);
  const int y = p.raw({4, 19, 161, 1}, DType::u8);
  const std::vector<WarpSample> samples = some_samples();
  p.check([&](const Backend& d) {
    View view = p[whole];
    view.shape = {4, 21, 170, 1};
    view.data = view.as<uint8_t>() + 1;
    view.stride[1] *= 2;
    view.stride[2] *= 2;
    d.warp_labels(p.stream(), view, samples.data(), p[y], 7);
  });
}

TEST_CASE("cpu: a constant image is standardised to 0") {
  Parity p;
  const int source = p.raw({1, 9, 9, 2}, DType::u8, std::vector<double>(162, 200)),
            y = p.out({1, 9, 9, 2});
  WarpSample sample;
  sample.source_height = sample.source_width = 9;
  WarpOptions options;
  options.scale = {1, 1};
  options.standardize = true;
  p.check([&](const Backend& d) { d.warp(p.stream(), p[source], &sample, p[y], options); });
}

TEST_CASE("warp: every backend refuses a sample that claims more than its slot, or more frames") {
  ThreadPool pool(1);
  Stream stream{&pool, nullptr};
  Array<uint8_t> source(Shape{1, 4, 4, 1});
  Array<float> narrow(Shape{1, 4, 4, 1});
  Reals wide(Shape{1, 4, 4, 1});
  for (const Backend* backend : {&cpu_backend(), &reference_backend()}) {
    CAPTURE(backend->name);
    const View y = backend->real == DType::f64 ? wide.view() : narrow.view();
    WarpSample sample;
    Array<uint8_t> labels(Shape{1, 4, 4, 1});
    const auto refused = [&](const char* why) {
      CHECK_THROWS_WITH_AS(backend->warp(stream, source.view(), &sample, y, {}),
                           doctest::Contains(why), Error);
      CHECK_THROWS_WITH_AS(backend->warp_labels(stream, source.view(), &sample, labels.view(), 255),
                           doctest::Contains(why), Error);
    };
    sample.source_height = 5;
    sample.source_width = 4;
    refused("sample 0 claims a source of 5x4 pixels");
    sample.source_height = 4;
    sample.frames = WarpSample::max_frames + 1;
    refused("sample 0 has 4 frames, at most 3");
    sample.frames = -1;
    refused("sample 0 has -1 frames");
  }
}

}  // namespace fulmar::test
