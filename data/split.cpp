#include <algorithm>
#include <cmath>
#include <map>

#include "data/dataset.h"
#include "data/draws.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

struct Scene {
  std::vector<size_t> samples;
  std::vector<int64_t> counts;  // by class
};

std::vector<Scene> scenes_of(const Dataset& dataset) {
  std::map<std::string, Scene> by_name;
  for (size_t i = 0; i < dataset.samples.size(); i++) {
    Scene& scene = by_name[dataset.samples[i].scene];
    scene.counts.resize(dataset.classes.size());
    scene.counts[static_cast<size_t>(dataset.samples[i].label)]++;
    scene.samples.push_back(i);
  }
  std::vector<Scene> scenes;
  for (auto& [name, scene] : by_name) scenes.push_back(std::move(scene));
  return scenes;
}

// Sum over the classes of how far the held-out part is from its target, relative to the class.
double distance(const std::vector<int64_t>& held, const std::vector<double>& target,
                const std::vector<int64_t>& total) {
  double sum = 0;
  for (size_t c = 0; c < held.size(); c++)
    sum += std::abs(static_cast<double>(held[c]) - target[c]) / static_cast<double>(total[c]);
  return sum;
}

void add(std::vector<int64_t>& counts, const std::vector<int64_t>& more, int64_t sign) {
  for (size_t c = 0; c < counts.size(); c++) counts[c] += sign * more[c];
}

}  // namespace

Split split_dataset(const Dataset& dataset, double fraction, uint64_t seed) {
  if (!(fraction > 0 && fraction < 1))
    usage_error("the part held out must be above 0 and below 1, not " + std::to_string(fraction));
  const std::vector<int64_t> total = dataset.class_counts();
  std::vector<double> target;
  for (int64_t count : total)
    target.push_back(std::max(1.0, std::round(fraction * static_cast<double>(count))));

  std::vector<Scene> scenes = scenes_of(dataset);
  for (size_t left = scenes.size(); left > 1; left--) {
    const RandomBits bits = draw(seed, Draw::split, 0, left);
    std::swap(scenes[left - 1],
              scenes[static_cast<size_t>(below(bits.word[0], static_cast<int64_t>(left)))]);
  }
  // In random order, scenes change sides as long as that brings the classes nearer to their
  // targets.
  std::vector<int64_t> held(total.size());
  std::vector<bool> scene_is_held(scenes.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t s = 0; s < scenes.size(); s++) {
      const int64_t sign = scene_is_held[s] ? -1 : 1;
      const double before = distance(held, target, total);
      add(held, scenes[s].counts, sign);
      if (distance(held, target, total) < before - 1e-12) {
        scene_is_held[s] = !scene_is_held[s];
        changed = true;
      } else {
        add(held, scenes[s].counts, -sign);
      }
    }
  }
  std::vector<bool> is_held(dataset.samples.size());
  for (size_t s = 0; s < scenes.size(); s++)
    for (size_t i : scenes[s].samples) is_held[i] = scene_is_held[s];
  for (size_t c = 0; c < held.size(); c++)
    if (held[c] == 0 || held[c] == total[c])
      usage_error(dataset.folder + ": of the " + std::to_string(total[c]) +
                  " pictures of the class '" + dataset.classes[c] +
                  "' none can be held out: they belong to too few scenes, which stay whole (" +
                  describe_scenes(dataset) + "); --scenes file makes each picture its own");

  Split split;
  for (Dataset* part : {&split.train, &split.held_out}) {
    part->folder = dataset.folder;
    part->classes = dataset.classes;
    part->bands = dataset.bands;
    part->layers = dataset.layers;
  }
  for (size_t i = 0; i < dataset.samples.size(); i++)
    (is_held[i] ? split.held_out : split.train).samples.push_back(dataset.samples[i]);
  return split;
}

std::string missed_share(const Split& split, double fraction) {
  const std::vector<int64_t> kept = split.train.class_counts(),
                             held = split.held_out.class_counts();
  std::string list;
  bool missed = false;
  for (size_t c = 0; c < held.size(); c++) {
    const auto total = static_cast<double>(kept[c] + held[c]);
    const double wanted = fraction * total;
    missed |= std::abs(static_cast<double>(held[c]) - wanted) > std::max(1.0, wanted / 4);
    list += (list.empty() ? "" : ", ") + std::to_string(held[c]) + " of " +
            std::to_string(kept[c] + held[c]) + " " + split.train.classes[c];
  }
  if (!missed) return "";
  const auto all = static_cast<double>(split.train.samples.size() + split.held_out.samples.size());
  const double percent = 100 * static_cast<double>(split.held_out.samples.size()) / all;
  return std::to_string(std::lround(percent)) + " % are held out, not the " +
         std::to_string(std::lround(100 * fraction)) + " % asked for (" + list +
         "): scenes stay whole; --scenes file makes each picture its own";
}

}  // namespace fulmar::data
