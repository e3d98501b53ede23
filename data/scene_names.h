#pragma once

#include <string>
#include <string_view>

namespace fulmar::data {

struct Dataset;

// The rule that gives a picture its scene.
//   name    what its name says:
//           - of Sentinel-1 (S1A_IW_GRDH_1SDV_<start>_<stop>_<orbit>_<data take>_..., or the
//             measurement's s1a-iw-grd-vv-<start>-<stop>-<orbit>-<data take>-..., or cut short), in
//             the name of the file or of a folder that it lies in: satellite, start of
//             acquisition and, where it is there, mission data take, whatever else is in the name;
//           - else the file's name before the first '_', unless it is the class's name, or a word
//             without a digit that begins the names of all of a class's pictures (three or more):
//             neg_0001.png and IMG_0001.png tell nothing, and each is a scene of its own;
//           - without a '_' each picture is its own.
//   prefix  the file's name before the first '_', whatever it is
//   file    every picture is its own
enum class SceneRule { name, prefix, file };

// By its word. Error(usage) for another word.
SceneRule scene_rule_named(const std::string& word);

// "S1A_20190101T010412_02EF00" where a file's or folder's name is of Sentinel-1 and tells when the
// acquisition started; "" for others.
std::string sentinel1_scene(std::string_view name);

// The month in which a picture was taken, 1 to 12, where its file's name tells a date: 20180607 or
// 20180607T184326, behind the start or one of "_-. ". 0: it tells none.
int month_in(std::string_view name);

// Sets the scene of every sample of a dataset.
void name_scenes(Dataset& dataset, SceneRule rule);

// "2 scenes: S1A 24, S1B 6", "1 scene: S1A", "41 scenes of 1 to 12 pictures", "30 scenes, each a
// single picture".
std::string describe_scenes(const Dataset& dataset);

}  // namespace fulmar::data
