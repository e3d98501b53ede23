#include "data/augment.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/picture/geometry.h"
#include "kernels/backend.h"
#include "kernels/error.h"
#include "tests/support/paths.h"

using namespace fulmar;
using data::Augment;
using data::AugmentDraw;
using Json = nlohmann::json;

namespace {

struct Picture {
  int64_t height = 0, width = 0;
  std::vector<float> value;  // [height,width,3]

  float at(int64_t row, int64_t column, int64_t band) const {
    return value[static_cast<size_t>((row * width + column) * 3 + band)];
  }
};

Picture tensor(const Safetensors& file, const std::string& name) {
  const StoredTensor& stored = file.at(name);
  Picture picture{stored.shape[0], stored.shape[1], {}};
  const auto count = static_cast<size_t>(stored.elements());
  picture.value.resize(count);
  for (size_t i = 0; i < count; i++)
    picture.value[i] = stored.type == StoredType::u8
                           ? static_cast<float>(static_cast<const uint8_t*>(stored.data)[i])
                           : static_cast<const float*>(stored.data)[i];
  return picture;
}

// What the network would see, unscaled unless the record says so.
Picture warp(const Picture& source, const WarpSample& sample, const WarpOptions& options,
             int64_t height, int64_t width) {
  ThreadPool pool(1);
  Stream stream{&pool, nullptr};
  std::vector<double> out(static_cast<size_t>(height * width * 3));
  reference_backend().warp(stream,
                           view_of(const_cast<float*>(source.value.data()),
                                   {1, source.height, source.width, 3}, DType::f32),
                           &sample, view_of(out.data(), {1, height, width, 3}, DType::f64),
                           options);
  return {height, width, {out.begin(), out.end()}};
}

Preprocess native(int64_t crop) {
  Preprocess p = Preprocess::of_pictures(0, crop, 3);
  p.scale.assign(3, 1);
  return p;
}

const Safetensors& goldens() {
  static const Safetensors file = Safetensors::read(test::golden("augmentation_keras.safetensors"));
  return file;
}
const Json& cases() {
  static const Json json = Json::parse(goldens().text("cases"));
  return json;
}

// Largest difference from the centre of Keras' picture, whose extents may be larger.
double difference_from_centre(const Picture& ours, const Picture& keras) {
  const int64_t top = (keras.height - ours.height) / 2, left = (keras.width - ours.width) / 2;
  double largest = 0;
  for (int64_t row = 0; row < ours.height; row++)
    for (int64_t column = 0; column < ours.width; column++)
      for (int64_t band = 0; band < 3; band++)
        largest = std::max(largest,
                           std::abs(static_cast<double>(ours.at(row, column, band)) -
                                    static_cast<double>(keras.at(top + row, left + column, band))));
  return largest;
}

Picture ramps(int64_t size) {
  Picture picture{size, size, {}};
  const auto ramp = [&](int64_t i) {
    return 40 + 160 * static_cast<float>(i) / static_cast<float>(size - 1);
  };
  for (int64_t row = 0; row < size; row++)
    for (int64_t column = 0; column < size; column++)
      picture.value.insert(picture.value.end(), {ramp(column), ramp(row), 200.0f});
  return picture;
}

}  // namespace

TEST_CASE("each augmentation layer equals Keras' own") {
  int compared = 0;
  for (const auto& item : cases().items()) {
    const std::string& name = item.key();
    const Json& row = item.value();
    const std::string op = row["op"];
    AugmentDraw draw;
    Preprocess p;
    if (op == "translation") {
      draw.down = row["height"];
      draw.right = row["width"];
    } else if (op == "flip") {
      draw.flip_horizontal = row["horizontal"];
      draw.flip_vertical = row["vertical"];
    } else if (op == "rotation") {
      draw.angle = row["angle"];
    } else if (op == "zoom") {
      draw.zoom = row["factor"];
    } else if (op != "center_crop" && op != "rescaling") {
      continue;
    }
    CAPTURE(name);
    const Picture source = tensor(goldens(), row["picture"]);
    const int64_t crop =
        op == "center_crop" ? row["crop"].get<int64_t>() : std::min(source.height, source.width);
    p = op == "rescaling" ? Preprocess::of_pictures(0, crop, 3) : native(crop);
    const double range = op == "rescaling" ? 1 : 255;
    const WarpSample sample = data::augmented_sample(p, source.height, source.width, draw);
    const Picture ours = warp(source, sample, p.warp_options(), crop, crop);
    CHECK(difference_from_centre(ours, tensor(goldens(), name + "/y")) <= 1e-4 * range);
    if (op == "center_crop") {
      const WarpSample centre = centre_sample(p, source.height, source.width);
      CHECK(warp(source, centre, p.warp_options(), crop, crop).value == ours.value);
    }
    compared++;
  }
  CHECK(compared == 32);
}

TEST_CASE("the chain of layers equals Keras' on ramps, away from the frame's edges") {
  int chains = 0;
  for (const auto& item : cases().items()) {
    const std::string& name = item.key();
    const Json& row = item.value();
    if (row["op"] != "chain") continue;
    CAPTURE(name);
    const Picture keras = tensor(goldens(), name + "/y");
    AugmentDraw draw;
    draw.down = row["translate_height"];
    draw.right = row["translate_width"];
    draw.flip_horizontal = row["flip_horizontal"];
    draw.flip_vertical = row["flip_vertical"];
    draw.angle = row["angle"];
    draw.zoom = row["zoom"];
    const Preprocess p = Preprocess::of_pictures(0, row["crop"], 3);
    const WarpSample sample = data::augmented_sample(p, row["size"], row["size"], draw);
    const Picture ours = warp(ramps(row["size"]), sample, p.warp_options(), p.crop, p.crop);
    // Blue is the same everywhere: where it is whole or nothing, the pixel is wholly in or out.
    int inside = 0, outside = 0, edge = 0, contradictions = 0;
    double largest = 0;
    for (int64_t y = 0; y < p.crop; y++)
      for (int64_t x = 0; x < p.crop; x++) {
        const double theirs = static_cast<double>(keras.at(y, x, 2)) * 255 / 200;
        const double mine = static_cast<double>(ours.at(y, x, 2)) * 255 / 200;
        if (theirs > .9999 && mine > .9999) {
          inside++;
          for (int64_t band = 0; band < 2; band++)
            largest = std::max(largest, std::abs(static_cast<double>(keras.at(y, x, band)) -
                                                 static_cast<double>(ours.at(y, x, band))));
        } else if (theirs < 1e-4 && mine < 1e-4) {
          outside++;
        } else {
          edge++;
          contradictions += std::abs(theirs - mine) > .9;
        }
      }
    CHECK(inside > 900);
    CHECK(edge < 250);
    CHECK(contradictions == 0);
    CHECK(largest <= 1e-4);
    chains++;
  }
  CHECK(chains == 6);
}

TEST_CASE("drawn chains have the statistics of Keras' own draws") {
  const Json statistics = Json::parse(goldens().text("chain_statistics"));
  const int64_t size = statistics["size"], crop = statistics["crop"];
  const Preprocess p = Preprocess::of_pictures(0, crop, 3);
  constexpr int draws = 2000;
  for (const std::string kind : {"ramps", "noise"}) {
    CAPTURE(kind);
    const Picture source =
        kind == "ramps"
            ? ramps(size)
            : tensor(goldens(), "picture/" + std::to_string(size) + "x" + std::to_string(size));
    double mean[3] = {}, deviation[3] = {};
    for (int i = 0; i < draws; i++) {
      const AugmentDraw draw = data::draw_augment(Augment::published(), 7, i / 50, i % 50);
      const Picture y =
          warp(source, data::augmented_sample(p, size, size, draw), p.warp_options(), crop, crop);
      double sum[3] = {}, squares[3] = {};
      for (size_t at = 0; at < y.value.size(); at += 3) {
        for (size_t band = 0; band < 3; band++) {
          const auto value = static_cast<double>(y.value[at + band]);
          sum[band] += value;
          squares[band] += value * value;
        }
      }
      const auto pixels = static_cast<double>(crop * crop);
      for (size_t band = 0; band < 3; band++) {
        mean[band] += sum[band] / pixels / draws;
        deviation[band] +=
            std::sqrt(std::max(0.0, squares[band] / pixels - std::pow(sum[band] / pixels, 2))) /
            draws;
      }
    }
    const Json& keras = statistics[kind];
    // Within four standard errors, theirs and ours, and a little where sampling once or four times
    // differs. Blue is 200 in the ramps: its mean tells how much of the crop the picture covers.
    // (Keras' black fraction is lower than ours: its layers fade the frame's edge over pixels.)
    const auto near = [&](const std::string& what, size_t i, double value, double slack) {
      const double expected = keras[what]["mean"][i], error = keras[what]["standard_error"][i];
      CAPTURE(what);
      CAPTURE(value);
      CAPTURE(expected);
      CHECK(std::abs(value - expected) <= 4 * error * std::sqrt(1 + 1000.0 / draws) + slack);
    };
    for (size_t band = 0; band < 3; band++) {
      near("channel_mean", band, mean[band], .002);
      if (kind == "ramps") near("channel_deviation", band, deviation[band], .004);
    }
  }
}

TEST_CASE("the resizes of Keras' loaders") {
  int compared = 0;
  for (const auto& item : cases().items()) {
    const std::string& name = item.key();
    const Json& row = item.value();
    const std::string op = row["op"];
    if (op != "load_img_nearest" && op != "dataset_bilinear") continue;
    CAPTURE(name);
    const bool nearest = op == "load_img_nearest";
    const Picture source = tensor(goldens(), row["picture"]);
    const int64_t height = row["size"][0], width = row["size"][1];
    WarpSample sample;
    sample.map = resize_map(source.height, source.width, height, width);
    if (nearest) {
      sample.map.a[2] += 1e-9;
      sample.map.a[5] += 1e-9;
    }
    sample.source_height = source.height;
    sample.source_width = source.width;
    Preprocess p = native(8);
    p.size = 8;
    p.resize = nearest ? Interpolation::nearest : Interpolation::bilinear;
    const Picture ours = warp(source, sample, p.warp_options(), height, width);
    const Picture keras = tensor(goldens(), name + "/y");
    // Where a centre falls between two source pixels, rounding decides in Pillow: either is right.
    const auto tie = [&](int64_t i, int64_t from, int64_t to) {
      return nearest && (2 * i + 1) * from % (2 * to) == 0;
    };
    int64_t same = 0, ties = 0;
    for (int64_t row = 0; row < height; row++)
      for (int64_t column = 0; column < width; column++) {
        if (tie(row, source.height, height) || tie(column, source.width, width)) {
          ties++;
          continue;
        }
        bool equal = true;
        for (int64_t band = 0; band < 3; band++)
          equal &= std::abs(ours.at(row, column, band) - keras.at(row, column, band)) <=
                   (nearest ? 0.0f : 1e-4f * 255);
        same += equal;
      }
    CHECK(same + ties == height * width);
    CHECK(ties * 5 < height * width);
    compared++;
  }
  CHECK(compared == 8);
}

TEST_CASE("pictures that don't fit are refused, or padded") {
  Preprocess p = native(6);
  const auto refusal = [&](int64_t height, int64_t width) {
    try {
      centre_sample(p, height, width);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      CHECK(misfit(p, height, width) == error.what());
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal(6, 6).empty());
  CHECK(refusal(9, 7).empty());
  CHECK(refusal(5, 7).find("7 x 5 pixels, smaller than the crop of 6") != std::string::npos);
  CHECK(refusal(5, 7).find("--pad") != std::string::npos);
  CHECK_FALSE(refusal(0, 7).empty());

  // A 3 x 2 picture in the middle of 6 x 6, the odd pixel to the right.
  p.pad = true;
  p.fill.assign(3, 9);
  Picture small{2, 3, std::vector<float>(18, 100)};
  Picture ours = warp(small, centre_sample(p, 2, 3), p.warp_options(), 6, 6);
  for (int64_t row = 0; row < 6; row++)
    for (int64_t column = 0; column < 6; column++) {
      const bool inside = row >= 2 && row < 4 && column >= 1 && column < 4;
      CHECK(ours.at(row, column, 1) == (inside ? 100 : 9));
    }

  // Resized: not square is refused, or padded to a square first.
  p.pad = false;
  p.size = 6;
  CHECK(refusal(4, 4).empty());
  CHECK(refusal(4, 2).find("not square") != std::string::npos);
  p.pad = true;
  const Picture tall{4, 2, std::vector<float>(24, 100)};
  for (const Interpolation resize : {Interpolation::nearest, Interpolation::bilinear}) {
    p.resize = resize;
    p.size = 8;
    p.crop = 8;
    ours = warp(tall, centre_sample(p, 4, 2), p.warp_options(), 8, 8);
    for (int64_t row = 0; row < 8; row++)
      for (int64_t column = 0; column < 8; column++)
        CHECK(ours.at(row, column, 0) == (column >= 2 && column < 6 ? 100 : 9));
  }
}

TEST_CASE("a resized and augmented picture is cut at its own edge") {
  Preprocess p = native(8);
  p.size = 8;
  p.resize = Interpolation::bilinear;
  p.fill.assign(3, 9);
  const Picture source{16, 16, std::vector<float>(16 * 16 * 3, 100)};
  AugmentDraw draw;
  draw.right = .25;
  const Picture ours =
      warp(source, data::augmented_sample(p, 16, 16, draw), p.warp_options(), 8, 8);
  for (int64_t column = 0; column < 8; column++)
    CHECK(ours.at(4, column, 0) == (column < 2 ? 9 : 100));
}

TEST_CASE("draws depend on seed, epoch and slot alone, and fill their ranges evenly") {
  Augment augment = Augment::published();
  augment.gain = 1;
  augment.speckle = .2;
  const auto all = [](const AugmentDraw& d) {
    return std::vector<double>{d.down,
                               d.right,
                               d.angle,
                               d.zoom,
                               d.gain,
                               static_cast<double>(d.flip_horizontal + 2 * d.flip_vertical),
                               static_cast<double>(d.speckle_seed)};
  };
  CHECK(all(draw_augment(augment, 1, 2, 3)) == all(draw_augment(augment, 1, 2, 3)));
  CHECK(all(draw_augment(augment, 1, 2, 3)) != all(draw_augment(augment, 2, 2, 3)));
  CHECK(all(draw_augment(augment, 1, 2, 3)) != all(draw_augment(augment, 1, 3, 3)));
  CHECK(all(draw_augment(augment, 1, 2, 3)) != all(draw_augment(augment, 1, 2, 4)));

  constexpr int draws = 20000;
  struct Part {
    double low, high;
    double sum = 0, least = 1e9, most = -1e9;
    void add(double value) {
      sum += value;
      least = std::min(least, value);
      most = std::max(most, value);
    }
  };
  Part down{-.1, .1}, right{-.1, .1}, angle{-.8 * M_PI, .8 * M_PI}, zoom{.85, 1.15};
  Part decibels{-20 * std::log10(2), 20 * std::log10(2)};
  int flips[4] = {};
  for (int i = 0; i < draws; i++) {
    const AugmentDraw d = draw_augment(augment, 5, i / 100, i % 100);
    down.add(d.down);
    right.add(d.right);
    angle.add(d.angle);
    zoom.add(d.zoom);
    decibels.add(20 * std::log10(d.gain));
    flips[d.flip_horizontal + 2 * d.flip_vertical]++;
    CHECK(d.speckle == .2);
  }
  for (const Part& part : {down, right, angle, zoom, decibels}) {
    const double range = part.high - part.low;
    CHECK(part.least >= part.low);
    CHECK(part.least < part.low + range / 1000);
    CHECK(part.most <= part.high);
    CHECK(part.most > part.high - range / 1000);
    CHECK(std::abs(part.sum / draws - (part.low + part.high) / 2) <
          4 * range / std::sqrt(12.0 * draws));
  }
  for (int count : flips) CHECK(std::abs(count - draws / 4) < 4 * std::sqrt(draws * 3 / 16.0));

  // Off means off.
  const AugmentDraw none = draw_augment(Augment{}, 5, 1, 1);
  CHECK(none.down == 0);
  CHECK(none.zoom == 1);
  CHECK(none.gain == 1);
  CHECK_FALSE(none.flip_horizontal);
  augment.zoom = 1;
  CHECK_THROWS_AS(augment.check(), Error);
}
