#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace fulmar::data {

// Which files hold the labels of pictures, pixel by pixel. Several layers are several tasks.
class LabelFiles {
 public:
  struct Layer {
    std::string name;     // of the task
    std::string pattern;  // of its files: "*_SIC.tif"
  };
  LabelFiles() = default;
  // "*_LabelHand.tif"; "SIC=*_SIC.tif,SOD=*_SOD.tif"; or "folders": DIR/images beside DIR/labels,
  // which holds files of the pictures' names, or a folder of them for each task; or "SIC,SOD,FLOE":
  // charts of sea-ice scenes in NetCDF. "": none.
  // Error(usage): a pattern without or with several *, with a folder, or a name twice.
  static LabelFiles parse(const std::string& text);

  bool empty() const { return layers_.empty() && !folders_; }
  bool in_folders() const { return folders_; }
  bool charts() const { return charts_; }  // layers are called as the variables
  const std::vector<Layer>& layers() const { return layers_; }

 private:
  bool folders_ = false, charts_ = false;
  std::vector<Layer> layers_;
};

// Whether a dataset's folder is one of images and labels, or its training part is.
bool has_label_folders(const std::string& folder);
// What LabelFiles::parse() takes where nobody says: "folders" where has_label_folders(),
// "SIC,SOD,FLOE" where there are ready-to-train scenes (*_prep.nc) in the folder or in its training
// part, else "".
std::string usual_label_files(const std::string& folder);

// The pictures of a folder with their label rasters, in parts as find_parts() tells them, or all of
// it for training. A label goes with the picture whose name is its own, or begins with it
// ("Spain_7_LabelHand.tif", "Spain_7_S1Hand.tif"), wherever in the part they lie; `pictures`, where
// it isn't empty, is a pattern that the pictures' names have. Pictures without labels are left out,
// which a note says. As survey_folder() otherwise; `test`: look into the test part too.
Folder survey_rasters(const std::string& folder, const LabelFiles& labels,
                      const std::string& pictures = "", SceneRule rule = SceneRule::name,
                      const BandFiles& bands = {}, bool test = true);

// The same with the first fault as Error(file).
Folder scan_rasters(const std::string& folder, const LabelFiles& labels,
                    const std::string& pictures = "", SceneRule rule = SceneRule::name,
                    const BandFiles& bands = {});

// For evaluation: the test part where there is one, else all of a folder without parts.
// Error(file).
Dataset scan_labelled(const std::string& folder, const LabelFiles& labels,
                      const std::string& pictures = "", SceneRule rule = SceneRule::name,
                      const BandFiles& bands = {});

}  // namespace fulmar::data
