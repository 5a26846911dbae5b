/* All of reap's public interface. See include/reap/README.md for what a program of one's own looks like. */
#ifndef REAP_H
#define REAP_H

#include "reap/api.h"
#include "reap/comm.h"
#include "reap/dataset.h"
#include "reap/error.h"
#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/log.h"
#include "reap/memory.h"
#include "reap/method.h"
#include "reap/moments.h"
#include "reap/network.h"
#include "reap/path.h"
#include "reap/session.h"
#include "reap/solver.h"
#include "reap/stats_file.h"

#endif
