#ifndef REAP_VERSION_H
#define REAP_VERSION_H

#define REAP_VERSION "0.1.0"

#endif
