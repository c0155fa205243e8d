"""Masks for whole data sets, as frameworks for pretraining read them."""
