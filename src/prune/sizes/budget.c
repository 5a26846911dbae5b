#include "budget.h"

#include <math.h>

int64_t reap_budget_round(double share, int64_t channels) {
  int64_t kept = (int64_t)floor(share * (double)channels + 0.5);
  return kept < 1 ? 1 : kept > channels ? channels : kept;
}
