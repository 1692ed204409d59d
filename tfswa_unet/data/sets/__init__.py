"""The data sets that can be read, each by a lister of its songs and their stems; `layouts` tells them apart."""
