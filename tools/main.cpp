#include "tools/cli.h"

int main(int argc, char** argv) {
  using namespace fulmar::tools;
  take_over_process();
  Cli cli;
  add_train(cli);
  add_eval(cli);
  add_explain(cli);
  add_predict(cli);
  add_info(cli);
  add_import(cli);
  add_export(cli);
  add_check(cli);
  add_split(cli);
  add_report(cli);
  add_robustness(cli);
  add_resolution(cli);
  add_compare(cli);
  add_synth(cli);
  add_bench(cli);
  add_devices(cli);
  add_help(cli);
  return run_cli(cli, argc, argv);
}
