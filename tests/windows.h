/* Windows put together by hand. */
#ifndef TEST_WINDOWS_H
#define TEST_WINDOWS_H

/* What images without a depth have, for an initialiser of reap_window. */
#define FLAT .depth = 1, .out_depth = 1, .kernel_z = 1, .stride_z = 1, .dilation_z = 1

#endif
