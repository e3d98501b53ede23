#include "tools/cli.h"

int main(int argc, char** argv) {
  fulmar::tools::take_over_process();
  fulmar::tools::Cli cli;
  fulmar::tools::add_predict(cli);
  fulmar::tools::add_info(cli);
  fulmar::tools::add_train(cli);
  return fulmar::tools::run_cli(cli, argc, argv);
}
