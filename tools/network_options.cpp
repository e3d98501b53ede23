#include "tools/network_options.h"

#include "model/resnet.h"
#include "tools/cli.h"

namespace fulmar::tools {

void add_deeplab(CLI::App& app, model::DeeplabOptions& o, const std::string& group) {
  add_choice(app, "--encoder", o.encoder, model::resnet_names(),
             "Of deeplab: the residual network that makes its features (default resnet18)")
      ->group(group);
  add_integer(app, "--stages", o.stages, 1, 4, "Of the encoder, from its first (default 4)")
      ->group(group);
  add_choice(app, "--output-stride", o.output_stride, {8, 16, 32},
             "Pixels of the picture along a side of one of the features, at most; the encoder\n"
             "dilates instead of halving beyond (default 16)")
      ->group(group);
  add_integers(app, "--rates", o.rates, 1, 1 << 12,
               "Of the atrous convolutions, in pixels of the features (default 12,24,36)")
      ->group(group);
  add_integer(app, "--decoder-width", o.width, 1, 1 << 14,
              "Filters behind the encoder (default 256)")
      ->group(group);
  add_integer(app, "--pool", o.pool, 0, 1 << 12,
              "Side of the windows that are averaged beside them, in pixels of the features; 0: "
              "all\nof a patch in one (default 0)")
      ->group(group);
  app.add_flag("--shared-decoder", o.shared_decoder, "One for all tasks (default: each its own)")
      ->group(group);
}

}  // namespace fulmar::tools
