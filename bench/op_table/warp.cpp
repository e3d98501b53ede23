#include <cmath>
#include <limits>

#include "bench/op_table/op_table.h"
#include "bench/op_table/uniform.h"
#include "kernels/warp.h"

namespace fulmar::op_table {
namespace {

WarpOptions options(int64_t bands, double scale = 1, double offset = 0, double fill = 0) {
  WarpOptions how;
  for (int64_t b = 0; b < bands; b++) {
    how.scale[b] = static_cast<float>(scale * (1 + 0.25 * static_cast<double>(b)));
    how.offset[b] = static_cast<float>(offset);
    how.fill[b] = static_cast<float>(fill + static_cast<double>(b));
  }
  return how;
}

template <class T>
std::vector<T> picture(const Shape& shape, double most) {
  std::vector<T> values;
  for (int64_t i = 0; i < shape.elements(); i++)
    values.push_back(static_cast<T>(uniform_value(99, i, 0, most)));
  return values;
}

// Rotation by `angle` and zoom about the centres of output and source, then a shift.
Affine turn(double angle, double zoom, double out, double in, double shift) {
  const double c = std::cos(angle) * zoom, s = std::sin(angle) * zoom;
  const double from = (out - 1) / 2, to = (in - 1) / 2 + shift;
  return {{c, -s, to - c * from + s * from, s, c, to - s * from - c * from}};
}

WarpSample sample(const Affine& map, int64_t height, int64_t width) {
  WarpSample one;
  one.map = map;
  one.source_height = height, one.source_width = width;
  return one;
}

Case warp_case(const std::string& what, Operand source, const std::vector<WarpSample>& samples,
               int64_t height, int64_t width, const WarpOptions& how, double tolerance) {
  const Shape table{source.info.shape[0], static_cast<int64_t>(sizeof(WarpSample))};
  return {"warp",
          what,
          {std::move(source), records<WarpSample>("samples", table, DType::u8, std::span(samples))},
          [=](Tape& t, std::span<const Val> x) {
            return std::vector<Val>{ops::warp(t, x[0], x[1], height, width, how)};
          },
          tolerance};
}

// Of which samples `warp_labels` makes a case.
Case labels_case(const std::string& what, Operand source, const std::vector<WarpSample>& samples,
                 int64_t height, int64_t width, uint8_t outside) {
  const Shape table{source.info.shape[0], static_cast<int64_t>(sizeof(WarpSample))};
  return {"warp_labels",
          what,
          {std::move(source), records<WarpSample>("samples", table, DType::u8, std::span(samples))},
          [=](Tape& t, std::span<const Val> x) {
            return std::vector<Val>{ops::warp_labels(t, x[0], x[1], height, width, outside)};
          },
          0};
}

void add_labels_cases(std::vector<Case>& cases) {
  const auto add = [&](const std::string& what, const Shape& slots,
                       const std::vector<WarpSample>& samples, int64_t height, int64_t width,
                       uint8_t outside) {
    Operand source = records<uint8_t>("source", slots, DType::u8, picture<uint8_t>(slots, 255));
    cases.push_back(labels_case(what, std::move(source), samples, height, width, outside));
  };
  const Shape slots{2, 13, 11, 1};
  const WarpSample turned = sample(turn(0.6, 1.1, 9, 12, 0.3), 13, 11);
  add("crop and flip", slots,
      {sample({{1, 0, 2, 0, 1, 3}}, 13, 11), sample({{-1, 0, 10, 0, -1, 12}}, 13, 11)}, 7, 8, 255);
  add("turned", slots, {turned, sample(turn(-2.1, 0.8, 9, 12, -1.7), 12, 9)}, 9, 9, 255);
  // Every position lies halfway between pixels.
  add("ties", slots,
      {sample({{1, 0, -2.5, 0, 1, 0.5}}, 13, 11), sample({{0.5, 0, -1, 0, -1, 12.5}}, 13, 11)}, 15,
      16, 9);
  add("one pixel", {1, 1, 1, 1}, {sample({}, 1, 1)}, 1, 1, 0);
  add("nothing inside", slots, {sample({{1, 0, 1e6, 0, 1, 0}}, 13, 11), sample({}, 0, 0)}, 3, 4,
      77);
  WarpSample framed = turned, altered = turned;
  framed.frames = 2;
  framed.to_frame = {turn(0.3, 1, 9, 10, 0), turn(-0.5, 1.2, 9, 9, 1)};
  framed.frame_height = {10, 9}, framed.frame_width = {8, 11};
  altered.gain = 1.3, altered.speckle = 0.2, altered.seed = 11;
  add("cut at two frames; gain and speckle", slots, {framed, altered}, 9, 9, 255);
  add("large", {2, 150, 140, 1},
      {sample(turn(1, 1.1, 128, 140, 3), 150, 140), sample(turn(2, 0.3, 128, 140, 0), 149, 137)},
      128, 300, 255);
}

}  // namespace

void add_warp_cases(std::vector<Case>& cases) {
  add_labels_cases(cases);
  // A position of up to 50 pixels, rounded to float, is off by up to 4e-6 of a pixel, and so is the
  // value, relative to the difference of neighbours.
  const double tolerance = 5e-6;
  const auto add = [&](const std::string& what, Operand source,
                       const std::vector<WarpSample>& samples, int64_t height, int64_t width,
                       const WarpOptions& how, double bound) {
    cases.push_back(warp_case(what, std::move(source), samples, height, width, how, bound));
  };
  const Shape rgb{2, 13, 11, 3};
  const auto u8 = [](const Shape& s) {
    return records<uint8_t>("source", s, DType::u8, picture<uint8_t>(s, 255));
  };
  const auto u16 = [](const Shape& s) {
    return records<uint16_t>("source", s, DType::u16, picture<uint16_t>(s, 65535));
  };
  const auto f32 = [](const Shape& s) {
    return records<float>("source", s, DType::f32, picture<float>(s, 1));
  };
  const Affine crop{{1, 0, 2, 0, 1, 3}}, flip{{-1, 0, 10, 0, -1, 12}};
  const Affine turned = turn(0.6, 1.1, 9, 12, 0.3), back = turn(-2.1, 0.8, 9, 12, -1.7);

  add("u8, crop and flip", u8(rgb), {sample(crop, 13, 11), sample(flip, 13, 11)}, 7, 8,
      options(3, 1.0 / 255), tolerance);
  for (const Border border : {Border::fill, Border::clamp})
    for (const Interpolation how : {Interpolation::nearest, Interpolation::bilinear}) {
      WarpOptions o = options(3, 1.0 / 255, -0.5, 20);
      o.border = border, o.interpolation = how;
      add(std::string("u8, turned, ") + (how == Interpolation::nearest ? "nearest" : "bilinear") +
              (border == Border::clamp ? ", clamped" : ", filled"),
          u8(rgb), {sample(turned, 13, 11), sample(back, 12, 9)}, 9, 9, o, tolerance);
    }
  // Whole shifts over each edge, and a row of taps that ends with the source.
  const Affine over{{1, 0, -2, 0, 1, -3}}, beyond{{1, 0, 4, 0, 1, 5}};
  const Affine half{{1, 0, 0.5, 0, 1, 0.5}};
  for (const Border border : {Border::fill, Border::clamp}) {
    WarpOptions o = options(3, 1.0 / 255, -0.5, 20);
    o.border = border;
    const std::string edges = border == Border::clamp ? ", clamped" : ", filled";
    add("u8, whole shifts" + edges, u8(rgb), {sample(over, 13, 11), sample(beyond, 12, 10)}, 15, 14,
        o, tolerance);
    add("u8, half a pixel" + edges, u8(rgb), {sample(half, 13, 11), sample(half, 13, 10)}, 12, 10,
        o, tolerance);
  }
  const Shape grey{2, 17, 16, 1};
  add("u16, one band", u16(grey), {sample(turned, 17, 16), sample(back, 17, 16)}, 12, 19,
      options(1, 1.0 / 65535), tolerance);
  add("f32, two bands", f32({1, 9, 9, 2}), {sample(turned, 9, 9)}, 11, 7, options(2, 2, 0.5, -3),
      tolerance);
  add("u8, sixteen bands", u8({1, 6, 5, 16}), {sample(turned, 6, 5)}, 5, 6, options(16, 0.01),
      tolerance);
  add("one pixel", u8({1, 1, 1, 3}), {sample({}, 1, 1)}, 1, 1, options(3, 0.01), tolerance);
  add("nothing inside", u8(rgb), {sample({{1, 0, 1e6, 0, 1, 0}}, 13, 11), sample({}, 0, 0)}, 3, 4,
      options(3, 0.01, 0, 7), tolerance);

  const Shape scene{1, 8, 8, 1};
  std::vector<float> holes = picture<float>(scene, 1);
  holes[10] = std::numeric_limits<float>::quiet_NaN();
  holes[30] = -std::numeric_limits<float>::infinity();
  holes[45] = -9999;
  WarpOptions nodata = options(1, 2, 1, 0.25);
  nodata.has_nodata = true, nodata.nodata = -9999;
  add("f32, NaN, infinity and nodata", records<float>("source", scene, DType::f32, holes),
      {sample(turned, 8, 8)}, 9, 9, nodata, tolerance);

  WarpSample framed = sample(turned, 13, 11);
  framed.frames = 2;
  framed.to_frame = {turn(0.3, 1, 9, 10, 0), turn(-0.5, 1.2, 9, 9, 1)};
  framed.frame_height = {10, 9}, framed.frame_width = {8, 11};
  add("cut at two frames", u8(rgb), {framed, framed}, 9, 9, options(3, 1.0 / 255, 0, 5), tolerance);

  WarpSample noisy = sample(turned, 13, 11), loud = sample(crop, 13, 11);
  noisy.gain = 1.3, noisy.speckle = 0.2, noisy.seed = 11;
  loud.gain = 0.7, loud.speckle = 2, loud.seed = 12;
  // The normal variate is log, sqrt and cos of rounded numbers: some 1e-6 where it is large.
  add("gain and speckle", u8(rgb), {noisy, loud}, 9, 9, options(3, 1.0 / 255), 1e-5);
  WarpOptions standard = options(3, 1.0 / 255, 0, 20);
  standard.standardize = true;
  add("standardised", u8(rgb), {noisy, sample(back, 12, 9)}, 9, 9, standard, 1e-5);
  const Shape large{2, 150, 140, 3};
  add("large", u8(large), {sample(turn(1, 1.1, 128, 140, 3), 150, 140), noisy}, 128, 130,
      options(3, 1.0 / 255), 2e-5);
}

void add_warp_benchmarks(const NetworkSize& size, std::vector<Case>& cases) {
  const int64_t margin = size.crop / 4, side = size.crop + 2 * margin;
  const auto source = [&](DType type, double most) {
    Operand operand =
        constant_of(in_role(Role::source, real("source", {size.batch, side, side, 3}, 0, most)));
    operand.info.type = type;
    return operand;
  };
  const auto centre = static_cast<double>(margin), out = static_cast<double>(size.crop);
  const WarpSample crop = sample({{1, 0, centre, 0, 1, centre}}, side, side);
  const WarpSample turned = sample(turn(0.6, 1, out, static_cast<double>(side), 0), side, side);
  const auto add = [&](const std::string& what, Operand picture, WarpSample each,
                       Interpolation how) {
    const std::vector<WarpSample> samples(static_cast<size_t>(size.batch), each);
    WarpOptions o = options(3, 1.0 / 255);
    o.interpolation = how;
    cases.push_back(warp_case(what, std::move(picture), samples, size.crop, size.crop, o, 0));
    // As many source pixels as the output has.
    cases.back().reads = std::pow(out / static_cast<double>(side), 2);
  };
  add("u8, crop", source(DType::u8, 256), crop, Interpolation::bilinear);
  add("u8, turned", source(DType::u8, 256), turned, Interpolation::bilinear);
  add("u8, turned, nearest", source(DType::u8, 256), turned, Interpolation::nearest);
  add("f32, turned", source(DType::f32, 1), turned, Interpolation::bilinear);
  WarpSample noisy = turned;
  noisy.speckle = 0.3;
  add("u8, turned, speckle", source(DType::u8, 256), noisy, Interpolation::bilinear);
  Operand labels =
      constant_of(in_role(Role::source, real("source", {size.batch, side, side, 1}, 0, 256)));
  labels.info.type = DType::u8;
  const std::vector<WarpSample> samples(static_cast<size_t>(size.batch), turned);
  cases.push_back(labels_case("turned", std::move(labels), samples, size.crop, size.crop, 255));
  cases.back().reads = std::pow(out / static_cast<double>(side), 2);
}

}  // namespace fulmar::op_table
