
#include <eml_net.h>
static const float mynet_layer_0_biases[9] = { 0.099774f, -0.248196f, -0.250471f, -0.168646f, -0.127937f, 0.023907f, -0.075599f, 0.339885f, -0.270778f };
static const float mynet_layer_0_weights[45] = { 0.007184f, 0.132953f, 0.108113f, 0.004359f, -0.083042f, 0.080622f, -0.076844f, 0.266268f, 0.380847f, -0.117848f, 0.190746f, 0.052334f, 0.021799f, 0.296293f, -0.353866f, -0.341779f, -0.392346f, 0.281881f, 0.180618f, 0.250060f, 0.392084f, 0.196649f, -0.054370f, 0.182504f, -0.318066f, 0.076130f, -0.239166f, 0.306213f, -0.013314f, -0.034006f, -0.207624f, 0.181847f, -0.062824f, 0.022018f, -0.393415f, 0.119415f, 0.113021f, 0.116159f, 0.305869f, 0.164014f, -0.082989f, -0.021050f, 0.129973f, -0.362889f, 0.099024f };
static const float mynet_layer_1_biases[1] = { -0.294114f };
static const float mynet_layer_1_weights[9] = { -0.230927f, -0.273469f, 0.166621f, -0.191266f, -0.000681f, -0.199219f, -0.275746f, -0.319151f, 0.169499f };
static float mynet_buf1[9];
static float mynet_buf2[9];
static const EmlNetLayer mynet_layers[2] = { 
{ 9, 5, mynet_layer_0_weights, mynet_layer_0_biases, EmlNetActivationLogistic }, 
{ 1, 9, mynet_layer_1_weights, mynet_layer_1_biases, EmlNetActivationIdentity } };
static EmlNet mynet = { 2, mynet_layers, mynet_buf1, mynet_buf2, 9 };

    int32_t
    mynet_predict(const float *features, int32_t n_features)
    {
        return eml_net_predict(&mynet, features, n_features);
    }
    

    int32_t
    mynet_regress(const float *features, int32_t n_features, float *out, int32_t out_length)
    {
        return eml_net_regress(&mynet, features, n_features, out, out_length);
    }
    

    float
    mynet_regress1(const float *features, int32_t n_features)
    {
        return eml_net_regress1(&mynet, features, n_features);
    }
    